/* SPDX-License-Identifier: Apache-2.0 */
#include "distinct.h"

#include <math.h>

uint64_t distinct_estimate(const struct distinct *distinct)
{
	const double count = sizeof(distinct->registers);
	double sum = 0;
	double empty = 0;
	double estimate;

	for (unsigned i = 0; i < sizeof(distinct->registers); i++) {
		sum += ldexp(1, -distinct->registers[i]);
		empty += distinct->registers[i] == 0;
	}
	estimate = 0.7213 / (1 + 1.079 / count) * count * count / sum;
	/* few hashes: by how many registers none of them met */
	if (estimate <= 2.5 * count && empty > 0)
		estimate = count * log(count / empty);
	return (uint64_t)llround(estimate);
}
