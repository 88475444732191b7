/*
 * tap.h
 *	  The little of TAP that tests in C need.
 *
 * Each check is one line of output; done_testing prints the plan last and
 * gives the exit status of main.
 */
#ifndef PGHA_TAP_H
#define PGHA_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int	tap_tests;
static int	tap_failures;

static inline bool ok(bool passed, const char *format,...)
			__attribute__((format(printf, 2, 3)));
static inline bool is_int(int64_t got, int64_t expected,
						  const char *format,...)
			__attribute__((format(printf, 3, 4)));
static inline bool is_str(const char *got, const char *expected,
						  const char *format,...)
			__attribute__((format(printf, 3, 4)));

static inline bool tap_result(bool passed, const char *format, va_list args)
			__attribute__((format(printf, 2, 0)));

static inline bool
tap_result(bool passed, const char *format, va_list args)
{
	tap_tests++;
	tap_failures += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tap_tests);
	vprintf(format, args);
	printf("\n");
	return passed;
}

static inline bool
ok(bool passed, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_result(passed, format, args);
	va_end(args);
	return passed;
}

static inline bool
is_int(int64_t got, int64_t expected, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	tap_result(got == expected, format, args);
	va_end(args);
	if (got != expected)
		printf("#      got: %" PRId64 "\n# expected: %" PRId64 "\n",
			   got, expected);
	return got == expected;
}

static inline bool
is_str(const char *got, const char *expected, const char *format,...)
{
	bool		same = strcmp(got, expected) == 0;
	va_list		args;

	va_start(args, format);
	tap_result(same, format, args);
	va_end(args);
	if (!same)
		printf("#      got: \"%s\"\n# expected: \"%s\"\n", got, expected);
	return same;
}

static inline int
done_testing(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failures == 0 ? 0 : 1;
}

#endif							/* PGHA_TAP_H */
