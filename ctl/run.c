/* SPDX-License-Identifier: Apache-2.0
 *
 * run NAME -- COMMAND - takes tokens, then becomes the command.
 */
#include "draw.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

enum ctl_exit command_run(struct ctl *ctl)
{
	char **command = ctl->args.operands + 1;
	char sentence[DRAW_SENTENCE_BYTES];
	struct draw draw;
	enum ctl_exit status = draw_take(&draw, ctl, WEIR_FOREVER);
	int error;

	if (status == CTL_CANNOT)
		return status;
	draw_close(&draw);
	if (status == CTL_REFUSED) {
		ctl_complain("%s refused, %s was not run: %s", draw.name, command[0],
			     draw_refusal(&draw, sentence));
		return status;
	}
	fflush(NULL);
	execvp(command[0], command);
	error = errno;
	ctl_complain("cannot run %s: %s", command[0], weir_strerror(-error));
	return error == ENOENT || error == ENOTDIR ? CTL_NO_COMMAND : CTL_NO_EXEC;
}
