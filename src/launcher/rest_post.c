/*
 * rest_post.c
 *	  POST requests: what a leader or an operator asks of this node.
 *
 * The loop answers, at once or later: until then the connection is suspended,
 * for as long as the request may take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "dcs/http.h"
#include "dcs/json.h"
#include "launcher/rest_private.h"

#define BODY_MAX 2048
#define WAITING_MAX 64

struct HaRestPost
{
	HaRestPosts *owner;
	struct MHD_Connection *connection;
	HaRestPost *next;
	int			id;
	HaTime		until;			/* suspended: answered then at the latest */
	bool		suspended;
	HaRestReply reply;			/* status 0 = none yet */
	size_t		len;
	char		body[BODY_MAX];
};

HaRestPost *
pgha_rest_post_begin(HaRestPosts *posts, struct MHD_Connection *connection)
{
	HaRestPost *post = calloc(1, sizeof(*post));

	if (post == NULL || posts->nposts >= WAITING_MAX)
	{
		free(post);
		return NULL;
	}
	post->owner = posts;
	post->connection = connection;
	post->id = ++posts->last_id;
	post->next = posts->posts;
	posts->posts = post;
	posts->nposts++;
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

static void
post_ask(HaRestPost *post, const char *path)
{
	HaRestPosts *posts = post->owner;
	HaRestAsk	ask = {.id = post->id,.path = path};
	char		why[HA_WHY_MAX];
	json_t	   *body = post->len == 0 ? pgha_json_object() :
		pgha_json_load(post->body, post->len, why);

	ask.body = body;
	ask.wait_ms = HA_REST_REPLY_MS;
	if (!json_is_object(body))
		post->reply = (HaRestReply) {MHD_HTTP_BAD_REQUEST,
		"the body is not a JSON object"};
	else if (posts->ask == NULL)
		post->reply = (HaRestReply) {MHD_HTTP_SERVICE_UNAVAILABLE,
		"nobody to ask"};
	else
		posts->ask(posts->arg, &ask, &post->reply);
	post->until = pgha_now() + ask.wait_ms * HA_NS_PER_MS;
	json_decref(body);
}

const HaRestReply *
pgha_rest_post_answer(HaRestPost *post, const char *path)
{
	if (post->reply.status == 0)
		post_ask(post, path);
	if (post->reply.status != 0)
		return &post->reply;
	post->suspended = true;
	MHD_suspend_connection(post->connection);
	return NULL;
}

static void
post_resume(HaRestPost *post, int status, const char *text)
{
	post->reply.status = status;
	snprintf(post->reply.text, sizeof(post->reply.text), "%s", text);
	post->suspended = false;
	MHD_resume_connection(post->connection);
}

void
pgha_rest_posts_reply(HaRestPosts *posts, int id, int status, const char *text)
{
	for (HaRestPost *post = posts->posts; post != NULL; post = post->next)
		if (post->suspended && post->id == id)
			post_resume(post, status, text);
}

/* Nobody said a word in time, or (now = never) nobody will any more. */
void
pgha_rest_posts_expire(HaRestPosts *posts, HaTime now)
{
	for (HaRestPost *post = posts->posts; post != NULL; post = post->next)
		if (post->suspended && (now == HA_TIME_NEVER || now >= post->until))
			post_resume(post, MHD_HTTP_SERVICE_UNAVAILABLE,
						"no answer in time");
}

bool
pgha_rest_posts_wait(const HaRestPosts *posts)
{
	for (const HaRestPost *post = posts->posts; post != NULL;
		 post = post->next)
		if (post->suspended)
			return true;
	return false;
}
