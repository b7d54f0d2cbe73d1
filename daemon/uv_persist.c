/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_persist.h"

static void on_write(uv_work_t *work)
{
	struct uv_persist *self = work->data;

	persist_write(self->persist, &self->save);
}

static void on_written(uv_work_t *work, int status)
{
	struct uv_persist *self = work->data;

	if (status < 0)
		self->save.error = status;
	persist_end(self->persist, &self->save);
	self->busy = false;
}

static void on_timer(uv_timer_t *timer)
{
	struct uv_persist *self = timer->data;

	if (self->busy || !persist_begin(self->persist, self->instance, &self->save))
		return;
	self->busy = true;
	int error = uv_queue_work(timer->loop, &self->work, on_write, on_written);

	if (error < 0)
		on_written(&self->work, error);
}

int uv_persist_start(struct uv_persist *self, uv_loop_t *loop, struct persist *persist,
		     const struct instance *instance)
{
	*self = (struct uv_persist){.persist = persist, .instance = instance};
	uv_timer_init(loop, &self->timer);
	self->timer.data = self->work.data = self;
	return persist->on ? uv_timer_start(&self->timer, on_timer, UV_PERSIST_MS, UV_PERSIST_MS)
			   : 0;
}

void uv_persist_stop(struct uv_persist *self)
{
	uv_close((uv_handle_t *)&self->timer, NULL);
}
