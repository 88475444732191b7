/*
 * base64.h
 *	  Base64 as RFC 4648 section 4 has it, strictly.
 *
 * Consul's values travel in it.  Decoding refuses what a strict encoder would
 * not have written: other characters, missing or misplaced padding, stray bits.
 */
#ifndef PGHA_BASE64_H
#define PGHA_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* malloc'd and NUL-terminated; NULL = no memory */
extern char *pgha_base64_encode(const void *data, size_t len);

/* How much room decoding that much text needs, a final NUL included. */
extern size_t pgha_base64_room(size_t text_len);

/* Writes a NUL after the bytes.  False: not base64. */
extern bool pgha_base64_decode(const char *text, size_t text_len,
							   char *data, size_t *len);

#endif							/* PGHA_BASE64_H */
