/* SPDX-License-Identifier: Apache-2.0
 *
 * acquire [--private] [NAME] - asks once, now or never. Exit status: 0 admitted, 1 refused, 2
 * neither.
 */
#include "attach.h"

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), NULL, WEIR_CLOCK_BEST);
	const char *name = argc > 1 ? argv[1] : "api.example.com";
	struct weir_endpoint *api;
	struct weir_answer answer;

	if (!weir || weir_endpoint(weir, name, &api) < 0)
		return 2;

	enum weir_verdict verdict = weir_acquire(api, 1, &answer);

	if (verdict == WEIR_ADMIT)
		printf("%s: admitted, %.0f tokens left\n", name, answer.level);
	else
		printf("%s: refused, try again in %.3f s\n", name, (double)answer.wait_ns / 1e9);
	weir_endpoint_close(api);
	weir_close(weir);
	return verdict == WEIR_ADMIT ? 0 : 1;
}
