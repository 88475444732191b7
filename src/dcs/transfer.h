/*
 * transfer.h
 *	  One HTTP request as curl carries it out: its options and its answer.
 *
 * Private to http.c, which owns the transfers and drives curl.  Nothing here
 * waits; curl's callbacks only note what they find.
 *
 *		FREE --> RUNNING --curl is done--> DONE --> DELIVERING --> FREE
 *		            |                       |
 *		            +------ cancelled ------+-----------------> FREE
 */
#ifndef PGHA_TRANSFER_H
#define PGHA_TRANSFER_H

#include <curl/curl.h>

#include "dcs/http.h"

typedef enum TransferState
{
	TRANSFER_FREE,
	TRANSFER_RUNNING,			/* curl has it */
	TRANSFER_DONE,				/* waits for its callback */
	TRANSFER_DELIVERING,		/* in its callback, or jumped out of it */
} TransferState;

typedef struct Transfer
{
	TransferState state;
	int			id;
	CURL	   *easy;			/* kept for the next one */
	struct curl_slist *headers;
	char	   *request_body;
	char	   *index_header;
	HaHttpCallback callback;
	void	   *arg;

	/* the answer */
	char	   *body;
	size_t		body_len;
	size_t		body_size;		/* allocated */
	size_t		body_max;
	size_t		header_bytes;
	uint64_t	index;
	const char *refusal;		/* why a callback of ours stopped curl */
	CURLcode	code;
	int			status;
	HaTime		sent_at;
	HaTime		received_at;
	uint64_t	finished;		/* order of delivery */
	char		error[CURL_ERROR_SIZE];
} Transfer;


/*
 * Make a free transfer ready to be given to curl.  False: no memory, or curl
 * does not take the request; then pgha_transfer_release it.  The strings of
 * *tls must outlive the transfer.
 */
extern bool pgha_transfer_prepare(Transfer *transfer, const HaTls *tls,
								  const HaHttpRequest *request);

/* The answer of a transfer that is done; it points into the transfer. */
extern void pgha_transfer_answer(Transfer *transfer, HaHttpAnswer *answer);

/* Everything of one request, but neither the handle nor a small buffer. */
extern void pgha_transfer_release(Transfer *transfer);
extern void pgha_transfer_free(Transfer *transfer);

#endif							/* PGHA_TRANSFER_H */
