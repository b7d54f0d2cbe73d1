/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - the points at which the publishing side can be killed, by name.
 *
 * FAULT_POINT(name) expands to nothing unless built with WEIR_FAULT_POINTS; then the process
 * kills itself there when the environment's WEIR_FAULT is "name" or "name:N" (the Nth passage).
 * tests/crash kills at every one of them.
 */
#ifndef WEIR_FAULT_H
#define WEIR_FAULT_H

#ifdef WEIR_FAULT_POINTS
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(#name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
