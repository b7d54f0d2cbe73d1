/* SPDX-License-Identifier: Apache-2.0
 *
 * thread_sanitizer.h - whether a test is built with ThreadSanitizer, for the few that cannot be.
 */
#ifndef THREAD_SANITIZER_H
#define THREAD_SANITIZER_H

#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#endif

#ifndef UNDER_THREAD_SANITIZER
#define UNDER_THREAD_SANITIZER 0
#endif

/* The same of ThreadSanitizer and AddressSanitizer, which are slow and make system calls. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER UNDER_THREAD_SANITIZER
#endif

/* What a test returns that was skipped: SKIP_RETURN_CODE of its CMakeLists.txt. */
#define TEST_SKIPPED 77

#endif
