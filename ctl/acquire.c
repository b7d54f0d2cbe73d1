/* SPDX-License-Identifier: Apache-2.0
 *
 * acquire NAME - takes tokens, for scripts: the exit status is the verdict.
 */
#include "draw.h"

#include <errno.h>
#include <stdio.h>

#include "limit_fields.h"
#include "render.h"
#include "text.h"

static bool print_answer(const struct draw *draw, const struct limit_fields *fields)
{
	struct page page;

	page_open(&page, true);
	page_text(&page, "name", NULL, draw->name);
	page_text(&page, "verdict", NULL, draw->verdict == WEIR_ADMIT ? "admit" : "refuse");
	page_text(&page, "reason", NULL, draw_reason(draw->answer.reason));
	page_duration(&page, "wait_ns", NULL, draw->answer.wait_ns);
	page_tokens(&page, "level", NULL, draw->answer.level);
	page_text(&page, "shadow_reason", NULL, draw_reason(draw->answer.shadow));
	page_duration(&page, "shadow_wait_ns", NULL, draw->answer.shadow_wait_ns);
	page_code(&page, "fault", draw->answer.fault);
	if (draw->answer.fault)
		page_text(&page, "fault_text", NULL, weir_strerror(draw->answer.fault));
	if (fields)
		limit_fields_add(fields, &page);
	return page_print(&page, stdout);
}

enum ctl_exit command_acquire(struct ctl *ctl)
{
	char sentence[DRAW_SENTENCE_BYTES];
	struct draw draw;
	enum ctl_exit status = draw_take(&draw, ctl, 0);
	bool wanted = ctl->args.values[OPTION_FIELDS] && status != CTL_CANNOT;
	struct limit_fields fields;
	int error = wanted ? limit_fields_of_answer(draw.endpoint, &draw.answer, &fields) : 0;

	if (error < 0)
		status = ctl_complain("%s: %s", draw.name, weir_strerror(error));
	/* a fault comes with its object as well, the complaint being for people */
	else if (ctl->json && (status != CTL_CANNOT || draw.answer.fault) &&
		 !print_answer(&draw, wanted ? &fields : NULL))
		status = ctl_complain("%s", weir_strerror(-ENOMEM));
	else if (!ctl->json && wanted)
		limit_fields_print(&fields, stdout);
	else if (!ctl->json && status == CTL_REFUSED)
		printf("refused: %s\n", draw_refusal(&draw, sentence));
	if (!ctl->json && status == CTL_DONE && draw.answer.shadow)
		printf("admitted, and in the shadow refused: %s\n", draw_shadow(&draw, sentence));
	draw_close(&draw);
	return status;
}
