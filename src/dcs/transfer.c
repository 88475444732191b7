/*
 * transfer.c
 *	  One HTTP request as curl carries it out: its options and its answer.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "dcs/transfer.h"

#define CONNECT_MS 2000			/* two SYNs: a lost one is sent again at 1 s */
#define RECEIVE_BYTES 4096		/* an answer is seldom larger */
#define SEND_BYTES 16384		/* the least libcurl takes */
#define HEADERS_MAX 65536		/* of an answer, bytes */
#define KEEP_BYTES 16384		/* a larger buffer isn't kept for the next */

/* The programs around us execute others: no socket is handed down. */
static curl_socket_t
open_socket_callback(void *arg, curlsocktype purpose,
					 struct curl_sockaddr *address)
{
	return socket(address->family, address->socktype | SOCK_CLOEXEC,
				  address->protocol);
}

/*
 * Receiving an answer
 */

/* Make room for len more bytes and a NUL; false: too many, or no memory. */
static bool
transfer_reserve(Transfer *transfer, size_t len)
{
	size_t		size = transfer->body_size;
	char	   *body;

	if (len > transfer->body_max - transfer->body_len)
	{
		transfer->refusal = "the answer is too large";
		return false;
	}
	if (transfer->body_len + len < size)
		return true;
	if (size == 0)
		size = RECEIVE_BYTES;
	while (size <= transfer->body_len + len)
		size *= 2;
	body = realloc(transfer->body, size);
	if (body == NULL)
	{
		transfer->refusal = "out of memory";
		return false;
	}
	transfer->body = body;
	transfer->body_size = size;
	return true;
}

static size_t
body_callback(char *data, size_t size, size_t nmemb, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * nmemb;

	if (!transfer_reserve(transfer, len))
		return 0;
	memcpy(transfer->body + transfer->body_len, data, len);
	transfer->body_len += len;
	return len;
}

/* A decimal number and nothing else but blanks; 0 if it isn't one. */
static uint64_t
header_number(const char *text, size_t len)
{
	uint64_t	number = 0;
	size_t		i = 0;
	size_t		digits = 0;

	while (i < len && (text[i] == ' ' || text[i] == '\t'))
		i++;
	for (; i < len && text[i] >= '0' && text[i] <= '9'; i++, digits++)
	{
		if (digits >= 19)
			return 0;
		number = number * 10 + (uint64_t) (text[i] - '0');
	}
	while (i < len && strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
		i++;
	return i == len ? number : 0;
}

static size_t
header_callback(char *data, size_t size, size_t nmemb, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * nmemb;
	size_t		name_len;

	transfer->header_bytes += len;
	if (transfer->header_bytes > HEADERS_MAX)
	{
		transfer->refusal = "the answer's headers are too large";
		return 0;
	}

	/* a status line: what an interim answer said does not count */
	if (len >= 5 && strncasecmp(data, "HTTP/", 5) == 0)
		transfer->index = 0;
	if (transfer->index_header == NULL)
		return len;

	name_len = strlen(transfer->index_header);
	if (len > name_len && data[name_len] == ':' &&
		strncasecmp(data, transfer->index_header, name_len) == 0)
		transfer->index = header_number(data + name_len + 1,
										len - name_len - 1);
	return len;
}

/*
 * Preparing a request
 */

static bool
transfer_add_header(Transfer *transfer, const char *name, const char *value)
{
	size_t		size = strlen(name) + strlen(value) + 3;
	char	   *line = malloc(size);
	struct curl_slist *headers = NULL;

	if (line == NULL)
		return false;
	/* "Name:" without a value takes a header out */
	snprintf(line, size, value[0] == '\0' ? "%s:%s" : "%s: %s", name, value);
	if (strpbrk(line, "\r\n") == NULL)
		headers = curl_slist_append(transfer->headers, line);
	free(line);
	if (headers == NULL)
		return false;
	transfer->headers = headers;
	return true;
}

/* Copy what curl reads later: headers, body.  False: no memory. */
static bool
transfer_copy_request(Transfer *transfer, const HaHttpRequest *request)
{
	const HaHttpHeader *header = request->headers;

	transfer->body_max = request->body_max > 0 ? request->body_max :
		HA_HTTP_BODY_MAX;
	if (request->index_header != NULL &&
		(transfer->index_header = strdup(request->index_header)) == NULL)
		return false;

	/* one byte more: an empty body is an allocation too */
	transfer->request_body = malloc(request->body_len + 1);
	if (transfer->request_body == NULL)
		return false;
	if (request->body != NULL)
		memcpy(transfer->request_body, request->body, request->body_len);

	for (; header != NULL && header->name != NULL; header++)
	{
		if (!transfer_add_header(transfer, header->name, header->value))
			return false;
	}

	/* curl would add a form's type, and wait for a 100 with large bodies */
	return transfer_add_header(transfer, "Expect", "");
}

/* What all requests have in common. */
static bool
transfer_set_common(Transfer *transfer, const HaTls *tls)
{
	CURL	   *easy = transfer->easy;
	bool		ok = true;

#define SET(option, value) \
	ok &= curl_easy_setopt(easy, CURLOPT_##option, value) == CURLE_OK

#if LIBCURL_VERSION_NUM >= 0x075500
	SET(PROTOCOLS_STR, "http,https");
#else
	SET(PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* a request that ends while a name is looked up must not wait for that */
	SET(QUICK_EXIT, 1L);
#endif
	SET(NOSIGNAL, 1L);
	SET(PROXY, "");
	SET(FOLLOWLOCATION, 0L);
	SET(PATH_AS_IS, 1L);
	SET(TCP_NODELAY, 1L);
	SET(HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(OPENSOCKETFUNCTION, open_socket_callback);
	SET(WRITEFUNCTION, body_callback);
	SET(WRITEDATA, transfer);
	SET(HEADERFUNCTION, header_callback);
	SET(HEADERDATA, transfer);
	SET(ERRORBUFFER, transfer->error);
	SET(PRIVATE, transfer);

	/* a handle whose last request failed early may refuse: it keeps its own */
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long) RECEIVE_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long) SEND_BYTES);
	if (tls->ca_file)
		SET(CAINFO, tls->ca_file);
	if (tls->cert_file)
		SET(SSLCERT, tls->cert_file);
	if (tls->key_file)
		SET(SSLKEY, tls->key_file);
	return ok;
}

/* The method, and the body that goes with it. */
static bool
transfer_set_method(Transfer *transfer, const HaHttpRequest *request)
{
	CURL	   *easy = transfer->easy;
	const char *method = request->method;
	bool		ok = true;

	if (strcmp(method, "GET") == 0 && request->body == NULL)
		return true;
	if (strcmp(method, "HEAD") == 0)
	{
		SET(NOBODY, 1L);
		return ok;
	}
	SET(CUSTOMREQUEST, method);
	if (request->body == NULL && strcmp(method, "DELETE") == 0)
		return ok;

	/* without a body this says "Content-Length: 0" */
	SET(POSTFIELDSIZE_LARGE,
		(curl_off_t) (request->body ? request->body_len : 0));
	SET(POSTFIELDS, transfer->request_body);
	return ok;
}

static bool
transfer_set_request(Transfer *transfer, const HaHttpRequest *request)
{
	CURL	   *easy = transfer->easy;
	long		timeout_ms = request->timeout_ms;
	bool		ok = true;

	SET(URL, request->url);
	SET(HTTPHEADER, transfer->headers);
	SET(TIMEOUT_MS, timeout_ms);
	SET(CONNECTTIMEOUT_MS,
		timeout_ms < CONNECT_MS ? timeout_ms : (long) CONNECT_MS);
	/* an answer that says it is too large need not be received at all */
	SET(MAXFILESIZE_LARGE, (curl_off_t) transfer->body_max);
	return ok;
}

bool
pgha_transfer_prepare(Transfer *transfer, const HaTls *tls,
					  const HaHttpRequest *request)
{
	transfer->body_len = 0;
	transfer->header_bytes = 0;
	transfer->index = 0;
	transfer->refusal = NULL;
	transfer->error[0] = '\0';
	if (transfer->easy == NULL)
		transfer->easy = curl_easy_init();
	else
		curl_easy_reset(transfer->easy);
	if (transfer->easy != NULL &&
		transfer_copy_request(transfer, request) &&
		transfer_set_common(transfer, tls) &&
		transfer_set_method(transfer, request) &&
		transfer_set_request(transfer, request))
		return true;

	/* should it be the handle's fault, the next request gets a new one */
	curl_easy_cleanup(transfer->easy);
	transfer->easy = NULL;
	return false;
}

/*
 * The end
 */

void
pgha_transfer_answer(Transfer *transfer, HaHttpAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->ok = transfer->code == CURLE_OK && transfer->status > 0;
	answer->status = transfer->status;
	answer->body = "";
	answer->sent_at = transfer->sent_at;
	answer->received_at = transfer->received_at;
	if (answer->ok)
	{
		answer->index = transfer->index;
		if (transfer->body_len > 0)
		{
			transfer->body[transfer->body_len] = '\0';
			answer->body = transfer->body;
			answer->body_len = transfer->body_len;
		}
	}
	else if (transfer->refusal != NULL)
		answer->error = transfer->refusal;
	else if (transfer->error[0] != '\0')
		answer->error = transfer->error;
	else
		answer->error = curl_easy_strerror(transfer->code);
}

void
pgha_transfer_release(Transfer *transfer)
{
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	free(transfer->request_body);
	transfer->request_body = NULL;
	free(transfer->index_header);
	transfer->index_header = NULL;
	if (transfer->body_size > KEEP_BYTES)
	{
		free(transfer->body);
		transfer->body = NULL;
		transfer->body_size = 0;
	}
	transfer->state = TRANSFER_FREE;
}

void
pgha_transfer_free(Transfer *transfer)
{
	pgha_transfer_release(transfer);
	curl_easy_cleanup(transfer->easy);
	transfer->easy = NULL;
	free(transfer->body);
	transfer->body = NULL;
	transfer->body_size = 0;
}
