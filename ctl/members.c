/* SPDX-License-Identifier: Apache-2.0
 *
 * members - who is attached.
 */
#include "members.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>

#include "ctl.h"
#include "look.h"
#include "text.h"
#include "weir.h"

static void add_member(uint32_t slot, const struct member_info *member, bool alive,
		       struct page *page)
{
	const struct passwd *user = getpwuid(member->uid);
	char when[TEXT_BYTES], who[64];

	if (user)
		snprintf(who, sizeof(who), "%u (%.32s)", member->uid, user->pw_name);
	else
		snprintf(who, sizeof(who), "%u", member->uid);
	page_row(page);
	page_count(page, "slot", "SLOT", slot);
	page_count(page, "pid", "PID", member->pid);
	page_count(page, "uid", NULL, member->uid);
	page_text(page, NULL, "UID", who);
	page_text(page, "program", "PROGRAM", member->program);
	page_text(page, "since", NULL, text_time_utc(member->joined_ns, when));
	page_text(page, NULL, "SINCE", text_time(member->joined_ns, when));
	page_flag(page, "alive", NULL, alive);
	page_text(page, NULL, "ALIVE", alive ? "yes" : "no, to be cleared");
}

static unsigned add_members(const struct look *look, struct page *page)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < look->segment.member_count; slot++) {
		struct member_info member;

		members_look(&look->segment, slot, &member);
		if (member.pid == 0)
			continue;
		add_member(slot, &member, members_alive(&look->segment, slot), page);
		count++;
	}
	return count;
}

enum ctl_exit command_members(struct ctl *ctl)
{
	struct look look;
	struct page page;
	unsigned count;
	bool done;

	if (!look_open(&look, ctl))
		return CTL_CANNOT;
	page_open(&page, ctl->json);
	page_text(&page, "instance", NULL, ctl->place.name);
	page_count(&page, "slots", NULL, look.segment.member_count);
	page_rows(&page, "members");
	count = add_members(&look, &page);
	done = page_print(&page, stdout);
	if (done && !ctl->json)
		printf("%s%u of %u slots taken\n", count ? "\n" : "", count,
		       look.segment.member_count);
	look_close(&look);
	return done ? CTL_DONE : ctl_complain("%s", weir_strerror(-ENOMEM));
}
