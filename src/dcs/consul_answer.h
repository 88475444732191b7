/*
 * consul_answer.h
 *	  What an HTTP answer of Consul means.
 *
 * Private to the Consul client: consul.c asks, this reads.  An answer is either
 * understood whole or it is HA_CONSUL_NO_ANSWER.
 */
#ifndef PGHA_CONSUL_ANSWER_H
#define PGHA_CONSUL_ANSWER_H

#include "dcs/consul.h"

#define HA_CONSUL_TEXT_MAX 255

typedef enum HaConsulKind
{
	HA_CONSUL_READ,
	HA_CONSUL_PUT,				/* answers true or false */
	HA_CONSUL_DELETE,
	HA_CONSUL_TXN,
	HA_CONSUL_SESSION_CREATE,
	HA_CONSUL_SESSION_RENEW,
	HA_CONSUL_SESSION_DESTROY,
	HA_CONSUL_SERVERS,
} HaConsulKind;

/* Memory behind an HaConsulAnswer's pointers.  All zero is empty. */
typedef struct HaConsulParsed
{
	json_t	   *root;			/* keys and sessions point into it */
	HaConsulKey *keys;
	char	   *values;			/* all decoded values */
	char		text[HA_CONSUL_TEXT_MAX + 1];
} HaConsulParsed;

/*
 * Fill *answer, whose pointers stay valid until *parsed is cleared.
 * results_min: how many of a transaction's operations answer with a key.
 */
extern void pgha_consul_interpret(HaConsulKind kind, int results_min,
								  const HaHttpAnswer *http,
								  HaConsulParsed *parsed,
								  HaConsulAnswer *answer);
extern void pgha_consul_parsed_clear(HaConsulParsed *parsed);

#endif							/* PGHA_CONSUL_ANSWER_H */
