/*
 * rest_failsafe.c
 *	  POST /failsafe: a leader asks this member to wait (core/lease.h).
 *
 * The brain answers, and that is the worker's most of the time: the connection
 * is suspended until it has, or for REPLY_MS.
 */
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "dcs/http.h"
#include "dcs/json.h"
#include "launcher/rest_private.h"

#define BODY_MAX 2048
#define REPLY_MS 1000
#define WAITING_MAX 64

struct HaRestPost
{
	HaRestFailsafe *owner;
	struct MHD_Connection *connection;
	HaRestPost *next;
	int			id;
	HaTime		since;
	bool		suspended;
	bool		answered;
	HaRestWord	word;
	size_t		len;
	char		body[BODY_MAX];
};

HaRestPost *
pgha_rest_post_begin(HaRestFailsafe *failsafe,
					 struct MHD_Connection *connection)
{
	HaRestPost *post = calloc(1, sizeof(*post));

	if (post == NULL || failsafe->nposts >= WAITING_MAX)
	{
		free(post);
		return NULL;
	}
	post->owner = failsafe;
	post->connection = connection;
	post->id = ++failsafe->last_id;
	post->next = failsafe->posts;
	failsafe->posts = post;
	failsafe->nposts++;
	return post;
}

void
pgha_rest_post_end(HaRestPost *post)
{
	HaRestPost **link = &post->owner->posts;

	while (*link != post)
		link = &(*link)->next;
	*link = post->next;
	post->owner->nposts--;
	free(post);
}

/* What is too long can't be read, and is refused with the rest. */
void
pgha_rest_post_body(HaRestPost *post, const char *data, size_t len)
{
	if (len > BODY_MAX - 1 - post->len)
		len = BODY_MAX - 1 - post->len;
	memcpy(post->body + post->len, data, len);
	post->len += len;
}

static bool
post_parse(const HaRestPost *post, const char *scope, HaRestAsk *ask)
{
	char		why[HA_WHY_MAX];
	json_t	   *document = pgha_json_load(post->body, post->len, why);
	const char *theirs = json_string_value(json_object_get(document, "scope"));
	uint64_t	ttl_ms = 0;
	bool		ok = theirs != NULL && strcmp(theirs, scope) == 0 &&
		pgha_json_number(json_object_get(document, "term"), &ask->term) &&
		pgha_json_number(json_object_get(document, "seq"), &ask->seq) &&
		pgha_json_number(json_object_get(document, "ttl_ms"), &ttl_ms) &&
		ttl_ms > 0 && ttl_ms <= INT32_MAX;

	ask->ttl_ms = (int64_t) ttl_ms;
	json_decref(document);
	return ok;
}

bool
pgha_rest_post_answer(HaRestPost *post, const char *scope, HaRestWord *word)
{
	HaRestFailsafe *failsafe = post->owner;
	HaRestAsk	ask = {.id = post->id};

	if (!post->answered)
	{
		post->word = HA_REST_UNREADABLE;
		if (post_parse(post, scope, &ask))
			post->word = failsafe->ask == NULL ? HA_REST_NOBODY :
				failsafe->ask(failsafe->arg, &ask);
		post->answered = post->word != HA_REST_LATER;
	}
	*word = post->word;
	if (post->answered)
		return true;
	post->suspended = true;
	post->since = pgha_now();
	MHD_suspend_connection(post->connection);
	return false;
}

static void
post_resume(HaRestPost *post, HaRestWord word)
{
	post->word = word;
	post->answered = true;
	post->suspended = false;
	MHD_resume_connection(post->connection);
}

void
pgha_rest_failsafe_reply(HaRestFailsafe *failsafe, int id, bool accepted)
{
	for (HaRestPost *post = failsafe->posts; post != NULL; post = post->next)
		if (post->suspended && post->id == id)
			post_resume(post, accepted ? HA_REST_ACCEPTED : HA_REST_REFUSED);
}

/* Nobody said a word in time, or (now = never) nobody will any more. */
void
pgha_rest_failsafe_expire(HaRestFailsafe *failsafe, HaTime now)
{
	for (HaRestPost *post = failsafe->posts; post != NULL; post = post->next)
		if (post->suspended &&
			(now == HA_TIME_NEVER ||
			 now >= post->since + REPLY_MS * HA_NS_PER_MS))
			post_resume(post, HA_REST_NOBODY);
}

bool
pgha_rest_failsafe_waits(const HaRestFailsafe *failsafe)
{
	for (const HaRestPost *post = failsafe->posts; post != NULL;
		 post = post->next)
		if (post->suspended)
			return true;
	return false;
}
