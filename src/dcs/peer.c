/*
 * peer.c
 *	  POSTs to another member's launcher; HTTP basic authentication (RFC 7617).
 */
#include "dcs/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/base64.h"
#include "dcs/documents.h"
#include "dcs/json.h"
#include "dcs/state.h"

#define CREDENTIALS_FILE_MAX 4096

char *
pgha_credentials(const char *user, const char *password_file, char *why)
{
	char	   *password = NULL;
	char	   *pair = NULL;
	char	   *encoded = NULL;
	char	   *value = NULL;
	bool		missing;
	size_t		len;

	if (user == NULL || user[0] == '\0')
		return strdup("");
	password = pgha_file_read(password_file != NULL ? password_file : "",
							  CREDENTIALS_FILE_MAX, &len, &missing, why);
	if (password == NULL)
		return NULL;
	password[strcspn(password, "\r\n")] = '\0';
	if (asprintf(&pair, "%s:%s", user, password) >= 0)
		encoded = pgha_base64_encode(pair, strlen(pair));
	if (encoded == NULL || asprintf(&value, "Basic %s", encoded) < 0)
	{
		pgha_why(why, "out of memory");
		value = NULL;
	}
	free(password);
	free(pair);
	free(encoded);
	return value;
}

bool
pgha_credentials_match(const char *expected, const char *given)
{
	size_t		len = strlen(expected);
	size_t		given_len = strlen(given);
	unsigned	differ = len != given_len;

	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char) expected[i] ^
			(unsigned char) given[i < given_len ? i : given_len];
	return differ == 0;
}

/* "http://host:8008/patroni" -> "http://host:8008/failsafe" */
static bool
peer_url(const char *api_url, const char *path, char *url, size_t size)
{
	const char *slash = strrchr(api_url, '/');

	return slash != NULL && slash > strstr(api_url, "//") + 1 &&
		snprintf(url, size, "%.*s%s", (int) (slash - api_url), api_url,
				 path) < (int) size;
}

int
pgha_peer_post(HaHttp *http, const char *api_url, const char *path,
			   json_t *body, const char *credentials, int timeout_ms,
			   HaHttpCallback callback, void *arg)
{
	char		url[HA_ADDRESS_MAX + 32];
	const HaHttpHeader headers[] = {
		{"Authorization", credentials},
		{NULL, NULL}
	};
	HaHttpRequest request = {.method = "POST",.url = url,
		.timeout_ms = timeout_ms
	};
	char	   *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	int			id = 0;

	if (credentials != NULL && credentials[0] != '\0')
		request.headers = headers;
	if (text != NULL)
	{
		request.body = text;
		request.body_len = strlen(text);
	}
	if ((body == NULL || text != NULL) &&
		peer_url(api_url, path, url, sizeof(url)))
		id = pgha_http_start(http, &request, callback, arg);
	json_decref(body);
	free(text);
	return id;
}
