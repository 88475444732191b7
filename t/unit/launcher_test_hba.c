/*
 * launcher_test_hba.c
 *	  Lines of pg_hba.conf and pg_ident.conf, taken or not as by the server.
 */
#include "dcs/documents.h"
#include "launcher/hba_line.h"
#include "launcher_test.h"

static const char *const good_rules[] = {
	"", "  ", "# remark", "local all all trust", "local all all peer map=x",
	"local db1,db2 +group,user scram-sha-256 # remark",
	"local db1, db2 \"a b\" md5", "host all all 127.0.0.1/32 md5",
	"host all all 10.0.0.0 255.0.0.0 md5", "host all all ::1/128 md5",
	"host all all fe80:: ffff:: md5", "host replication all samenet md5",
	"host all all .example.com scram-sha-256", "host all all all reject",
	"hostssl all all all cert clientcert=verify-full map=\"m n\"",
	"hostnossl \"all\" @users samehost password",
	"hostgssenc all all 0.0.0.0/0 gss include_realm=0",
	"hostnogssenc all all 0/0 ident",
	"host\tall\tall\t10.0.0.0/8\tldap ldapserver=x ldapprefix=\"cn=\"",
};

static const struct
{
	const char *line;
	const char *why;
}			bad_rules[] =
{
	{"hosts all all all md5", "\"hosts\" is no kind of connection"},
	{"local", "before the database"},
	{"local all", "before the user"},
	{"local all all", "before the method"},
	{"local all all # md5", "before the method"},
	{"local all all trusty", "\"trusty\" is no authentication method"},
	{"local all all md5 map", "the option \"map\" is not name=value"},
	{"local all all gss", "not for local"},
	{"host all all", "before the address"},
	{"host all all 127.0.0.1/32", "before the method"},
	{"host all all 127.0.0.1/33 md5", "\"127.0.0.1/33\" is no network"},
	{"host all all 127.0.0.1/ md5", "is no network"},
	{"host all all 127.0.0.300/24 md5", "is no network"},
	{"host all all ::1/129 md5", "is no network"},
	{"host all all example.com/24 md5", "is no network"},
	{"host all all 10.0.0.0 md5", "\"md5\" is no mask"},
	{"host all all 10.0.0.0 ffff:: md5", "is no mask"},
	{"host all all 10.0.0.0", "before the mask"},
	{"host all all 10.0.0.1,10.0.0.2 md5", "more than one address"},
	{"host all all all peer", "peer is for local"},
	{"host all all all cert", "cert is for hostssl"},
	{"host all all all md5\nlocal all all trust", "line break"},
	{"local all all trust \\", "backslash"},
};

static void
test_rules(void)
{
	for (size_t i = 0; i < sizeof(good_rules) / sizeof(good_rules[0]); i++)
		if (!ok(pgha_hba_line_check(good_rules[i], why), "taken: %s",
				good_rules[i]))
			printf("# why: %s\n", why);
	for (size_t i = 0; i < sizeof(bad_rules) / sizeof(bad_rules[0]); i++)
	{
		why[0] = '\0';
		if (!ok(!pgha_hba_line_check(bad_rules[i].line, why) &&
				strstr(why, bad_rules[i].why) != NULL, "not taken: %.40s",
				bad_rules[i].why))
			printf("# why: %s\n", why);
	}
}

static void
test_mappings(void)
{
	ok(pgha_ident_line_check("map /^(.*)@x$ \\1", why) &&
	   pgha_ident_line_check("m \"a b\" c # remark", why) &&
	   pgha_ident_line_check("", why), "mappings that are taken");
	ok(!pgha_ident_line_check("map a", why) &&
	   !pgha_ident_line_check("map a b c", why) &&
	   strstr(why, "3 fields"), "mappings that are not");
}

int
main(void)
{
	test_begin();
	test_rules();
	test_mappings();
	return test_end();
}
