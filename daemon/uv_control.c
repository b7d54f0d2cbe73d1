/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "peer.h"
#include "request.h"
#include "socket_file.h"
#include "weir.h"
#include "wire.h"

struct client {
	uv_pipe_t pipe;
	uv_timer_t patience;
	uv_write_t write;
	struct uv_control *control;
	struct control_peer peer;
	unsigned open_handles;
	bool last; /* ends after the reply that is on its way */
	size_t used;
	size_t reply_bytes;
	unsigned char in[WIRE_MAX_BYTES];
	unsigned char out[WIRE_MAX_BYTES];
};

static void take_messages(struct client *client);

/* ---- a client's end ---- */

static void on_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;

	if (--client->open_handles == 0) {
		client->control->clients--;
		free(client);
	}
}

static void client_close(struct client *client)
{
	if (!uv_is_closing((uv_handle_t *)&client->pipe))
		uv_close((uv_handle_t *)&client->pipe, on_closed);
	if (!uv_is_closing((uv_handle_t *)&client->patience))
		uv_close((uv_handle_t *)&client->patience, on_closed);
}

static void on_patience(uv_timer_t *timer)
{
	struct client *client = timer->data;

	log_line(LOG_DEBUG, "a client (pid %ld, %s) kept silent: dropped", (long)client->peer.pid,
		 client->peer.who);
	client_close(client);
}

/* ---- reading ---- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct client *client = handle->data;

	(void)suggested;
	*out = uv_buf_init((char *)client->in + client->used,
			   (unsigned)(sizeof(client->in) - client->used));
}

static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
	struct client *client = stream->data;

	(void)buffer;
	if (bytes < 0) {
		client_close(client);
		return;
	}
	client->used += (size_t)bytes;
	if (bytes > 0)
		take_messages(client);
}

/* ---- answering ---- */

static void on_written(uv_write_t *write, int status)
{
	struct client *client = write->data;

	if (status < 0 || client->last) {
		client_close(client);
		return;
	}
	uv_timer_start(&client->patience, on_patience, UV_CONTROL_PATIENCE_MS, 0);
	if (uv_read_start((uv_stream_t *)&client->pipe, on_allocate, on_read) < 0)
		client_close(client);
	else
		take_messages(client);
}

/* One reply at a time: nothing is read until this one is out. */
static void send_reply(struct client *client, const struct control_reply *reply)
{
	struct wire_message message = {
		.kind = WIRE_REPLY, .code = reply->code, .text = reply->text};
	int64_t bytes = wire_write(&message, client->out, sizeof(client->out));
	uv_buf_t buffer;

	if (bytes < 0) {
		client_close(client);
		return;
	}
	uv_read_stop((uv_stream_t *)&client->pipe);
	client->write.data = client;
	buffer = uv_buf_init((char *)client->out, (unsigned)bytes);
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buffer, 1, on_written) < 0)
		client_close(client);
}

static void answer(struct client *client, const struct wire_message *message)
{
	struct uv_control *control = client->control;
	struct control_request request;
	struct control_reply reply = {0};

	if (control_read(&request, &reply, message, &client->peer))
		request_carry_out(control->instance, control->source, &request, &client->peer,
				  &reply);
	else
		log_line(LOG_INFO, "refused: %s (by %s)", reply.text, client->peer.who);
	send_reply(client, &reply);
}

static void answer_noise(struct client *client)
{
	struct control_reply reply = {0};

	log_line(LOG_INFO, "a client (pid %ld, %s) sent what is no message", (long)client->peer.pid,
		 client->peer.who);
	control_answer(&reply, WEIR_EWIRE, "%s; weird %s speaks version %u of the protocol",
		       weir_strerror(WEIR_EWIRE), WEIR_VERSION, WIRE_VERSION);
	client->last = true;
	send_reply(client, &reply);
}

/* Answers the first message, if it is whole; what follows it waits for the reply to be out. */
static void take_messages(struct client *client)
{
	int64_t bytes = wire_length(client->in, client->used);
	struct wire_message message;

	if (bytes == 0)
		return;
	if (bytes < 0 || wire_parse(&message, client->in, (size_t)bytes) < 0) {
		answer_noise(client);
		return;
	}
	answer(client, &message);
	client->used -= (size_t)bytes;
	memmove(client->in, client->in + bytes, client->used);
}

/* ---- connections ---- */

/* Returns false if the client is to be closed at once. */
static bool client_begin(struct client *client)
{
	struct uv_control *control = client->control;
	uv_os_fd_t fd;

	if (control->clients > UV_CONTROL_CLIENTS) {
		log_line(LOG_WARNING, "more than %u connections to the control socket: one closed",
			 UV_CONTROL_CLIENTS);
		return false;
	}
	if (uv_fileno((uv_handle_t *)&client->pipe, &fd) < 0 ||
	    peer_read(&client->peer, fd, geteuid(), control->instance->group) < 0)
		return false;
	uv_timer_start(&client->patience, on_patience, UV_CONTROL_PATIENCE_MS, 0);
	return uv_read_start((uv_stream_t *)&client->pipe, on_allocate, on_read) == 0;
}

static void on_connection(uv_stream_t *server, int status)
{
	struct uv_control *control = server->data;
	struct client *client;

	if (status < 0) {
		log_line(LOG_WARNING, "control socket: %s", uv_strerror(status));
		return;
	}
	client = calloc(1, sizeof(*client));
	if (!client) {
		log_line(LOG_ERROR, "no memory for a connection");
		return;
	}
	client->control = control;
	client->pipe.data = client->patience.data = client;
	client->open_handles = 2;
	control->clients++;
	/* neither can fail: they fill in their structures */
	uv_pipe_init(server->loop, &client->pipe, 0);
	uv_timer_init(server->loop, &client->patience);
	if (uv_accept(server, (uv_stream_t *)&client->pipe) < 0 || !client_begin(client))
		client_close(client);
}

/* ---- the server ---- */

static int listen_at(struct uv_control *control, const char *path)
{
	mode_t before;
	int error = socket_file_clear(path);

	if (error < 0)
		return error;
	before = umask(0117);
	error = uv_pipe_bind(&control->server, path);
	umask(before);
	if (error == 0)
		error = socket_file_give(path, control->instance->group);
	if (error == 0)
		error = uv_listen((uv_stream_t *)&control->server, UV_CONTROL_CLIENTS,
				  on_connection);
	return error;
}

int uv_control_start(struct uv_control *control, uv_loop_t *loop, struct instance *instance,
		     const struct source *source)
{
	const char *path = instance->place.socket;
	int error = -ENAMETOOLONG;

	*control = (struct uv_control){.instance = instance, .source = source};
	uv_pipe_init(loop, &control->server, 0);
	control->server.data = control;
	if (strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
		error = listen_at(control, path);
	if (error < 0)
		log_line(LOG_ERROR,
			 "cannot listen at %s: %s; `socket =` in weir.ini or WEIR_SOCKET names "
			 "another place",
			 path, uv_strerror(error));
	else
		log_line(LOG_DEBUG, "listening at %s", path);
	return error;
}

static void close_client(uv_handle_t *handle, void *context)
{
	struct uv_control *control = context;

	/* every other pipe of this loop is a client */
	if (handle->type == UV_NAMED_PIPE && handle != (uv_handle_t *)&control->server)
		client_close(handle->data);
}

void uv_control_stop(struct uv_control *control)
{
	uv_walk(control->server.loop, close_client, control);
	/* libuv removes the socket that it bound */
	uv_close((uv_handle_t *)&control->server, NULL);
}
