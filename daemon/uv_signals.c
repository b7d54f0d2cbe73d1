/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_signals.h"

#include <signal.h>
#include <unistd.h>

#include "change.h"
#include "log.h"

static void on_hangup(uv_signal_t *handle, int number)
{
	struct uv_signals *signals = handle->data;

	(void)number;
	change_reload(signals->instance, signals->source, "SIGHUP", geteuid(), NULL);
}

static void on_stop(uv_signal_t *handle, int number)
{
	log_line(LOG_INFO, "stopping (%s)", number == SIGTERM ? "SIGTERM" : "SIGINT");
	uv_stop(handle->loop);
}

int uv_signals_start(struct uv_signals *signals, uv_loop_t *loop, struct instance *instance,
		     const struct source *source)
{
	int error;

	*signals = (struct uv_signals){.instance = instance, .source = source};
	uv_signal_init(loop, &signals->hangup);
	uv_signal_init(loop, &signals->terminate);
	uv_signal_init(loop, &signals->interrupt);
	signals->hangup.data = signals;
	error = uv_signal_start(&signals->hangup, on_hangup, SIGHUP);
	if (error == 0)
		error = uv_signal_start(&signals->terminate, on_stop, SIGTERM);
	if (error == 0)
		error = uv_signal_start(&signals->interrupt, on_stop, SIGINT);
	return error;
}

void uv_signals_stop(struct uv_signals *signals)
{
	uv_close((uv_handle_t *)&signals->hangup, NULL);
	uv_close((uv_handle_t *)&signals->terminate, NULL);
	uv_close((uv_handle_t *)&signals->interrupt, NULL);
}
