/*
 * rest_private.h
 *	  What the endpoints are answered from.
 *
 * Private to rest.c, which speaks HTTP, and rest_status.c, which knows what to
 * say.
 */
#ifndef PGHA_REST_PRIVATE_H
#define PGHA_REST_PRIVATE_H

#include "launcher/rest.h"

typedef struct HaRestView
{
	const HaNode *node;			/* borrowed */
	const HaRestState *state;	/* borrowed; kept current by the loop */
	json_t	   *tags;			/* an object */
} HaRestView;

/* rest_post.c */
typedef struct HaRestPost HaRestPost;
typedef struct HaRestPosts
{
	HaRestAsked ask;
	void	   *arg;
	int			last_id;
	int			nposts;
	HaRestPost *posts;
} HaRestPosts;

struct MHD_Connection;
/* NULL: no memory, or too many at once */
extern HaRestPost *pgha_rest_post_begin(HaRestPosts *posts,
										struct MHD_Connection *connection);
extern void pgha_rest_post_body(HaRestPost *post, const char *data, size_t len);
/* NULL: the connection is suspended, and will ask again. */
extern const HaRestReply *pgha_rest_post_answer(HaRestPost *post,
												const char *path);
extern void pgha_rest_post_end(HaRestPost *post);
extern void pgha_rest_posts_reply(HaRestPosts *posts, int id, int status,
								  const char *text);
extern void pgha_rest_posts_expire(HaRestPosts *posts, HaTime now);
extern bool pgha_rest_posts_wait(const HaRestPosts *posts);

#define HA_REST_NO_LAG UINT64_MAX

typedef struct HaRestQuery
{
	const HaRestView *view;
	uint64_t	lag;			/* bytes; HA_REST_NO_LAG = not asked for */
	const char *replication_state;	/* NULL = not asked for */
	const char *mode;			/* of /readiness: apply or write */
	bool		tags_match;		/* all tag_<name>=<value> */
} HaRestQuery;

extern bool pgha_rest_view_init(HaRestView *view, const HaNode *node,
								const HaRestState *state, char *why);
extern void pgha_rest_view_release(HaRestView *view);

/* What an endpoint's status says: 200 if true, else 503. */
extern bool pgha_rest_primary(const HaRestView *view, const HaRestQuery *query);
extern bool pgha_rest_leader(const HaRestView *view, const HaRestQuery *query);
extern bool pgha_rest_replica(const HaRestView *view,
							  const HaRestQuery *query);
extern bool pgha_rest_read_only(const HaRestView *view,
								const HaRestQuery *query);
extern bool pgha_rest_health(const HaRestView *view, const HaRestQuery *query);
extern bool pgha_rest_liveness(const HaRestView *view,
							   const HaRestQuery *query);
extern bool pgha_rest_readiness(const HaRestView *view,
								const HaRestQuery *query);
extern bool pgha_rest_always(const HaRestView *view, const HaRestQuery *query);
extern bool pgha_rest_never(const HaRestView *view, const HaRestQuery *query);

/* The status document; malloc'd, NULL = no memory. */
extern char *pgha_rest_status_text(const HaRestView *view);

/* "1048576", "16MB", ...; HA_REST_NO_LAG if it is no size */
extern uint64_t pgha_rest_parse_size(const char *text);
extern bool pgha_rest_tag_matches(const HaRestView *view, const char *name,
								  const char *value);

#endif							/* PGHA_REST_PRIVATE_H */
