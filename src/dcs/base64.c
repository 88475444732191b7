/*
 * base64.c
 *	  Base64 as RFC 4648 section 4 has it, strictly.
 */
#include <stdint.h>
#include <stdlib.h>

#include "dcs/base64.h"

static const char digits[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
pgha_base64_encode(const void *data, size_t len)
{
	const unsigned char *in = data;
	char	   *text = malloc((len + 2) / 3 * 4 + 1);
	char	   *out = text;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < len; i += 3)
	{
		size_t		n = len - i < 3 ? len - i : 3;
		uint32_t	bits = (uint32_t) in[i] << 16;

		if (n > 1)
			bits |= (uint32_t) in[i + 1] << 8;
		if (n > 2)
			bits |= in[i + 2];
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[bits & 63] : '=';
	}
	*out = '\0';
	return text;
}

size_t
pgha_base64_room(size_t text_len)
{
	return text_len / 4 * 3 + 1;
}

/* The value of a digit, or -1. */
static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

/* Four characters, of which the last `padding` are '='; false: not digits. */
static bool
decode_group(const char *text, int padding, char *out)
{
	uint32_t	bits = 0;

	for (int i = 0; i < 4; i++)
	{
		int			value = i < 4 - padding ? digit_value(text[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t) value;
	}

	/* bits that the padding cuts off must be zero */
	if (bits & ((UINT32_C(1) << (8 * padding)) - 1))
		return false;
	out[0] = (char) (bits >> 16);
	if (padding < 2)
		out[1] = (char) (bits >> 8);
	if (padding < 1)
		out[2] = (char) bits;
	return true;
}

bool
pgha_base64_decode(const char *text, size_t text_len, char *data, size_t *len)
{
	int			padding = 0;

	*len = 0;
	data[0] = '\0';
	if (text_len % 4 != 0)
		return false;
	if (text_len > 0 && text[text_len - 1] == '=')
		padding = text[text_len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < text_len; i += 4)
	{
		int			cut = i + 4 == text_len ? padding : 0;

		if (!decode_group(text + i, cut, data + *len))
			return false;
		*len += (size_t) (3 - cut);
	}
	data[*len] = '\0';
	return true;
}
