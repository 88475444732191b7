# Where things are; sourced, from the project's directory, by whatever runs
# the tests or the demonstration.
#
#   PGHA_PROJECT  the project
#   PGHA_SRC      the same, or a copy of it that the tests' user can read
#   PGHA_TREE     the private tree: a copy of the server with pg_ha in it
#   PGHA_BINDIR   the programs of that tree: postgres, psql, pg_ha_launcher
#   PGHA_CONSUL   the consul program
#   PGHA_USER     who runs the tests: the caller, or postgres for root
#   PGHA_WORK     that user's directory for everything written, logs included
#   PG_CONFIG     the pg_config of the server that the tree is a copy of
#
# What is set already stays as it is, so each may be overridden, and a child
# that sources this again sees what its parent saw.

: "${PGHA_PROJECT:=$PWD}"
if [ -z "${PGHA_TREE:-}" ] && ! [ -r "$PGHA_PROJECT/pg_ha.control" ]
then
	echo "env.sh: not in the project's directory: $PGHA_PROJECT" >&2
	exit 1
fi

# Of several checkouts on one machine, each has directories of its own.
pgha_id=$(printf %s "$PGHA_PROJECT" | cksum | cut -d ' ' -f 1)

if [ -z "${PGHA_USER:-}" ]
then
	PGHA_USER=$(id -un)
	[ "$(id -u)" -ne 0 ] || PGHA_USER=postgres
fi

# A checkout below /root, say, is closed to postgres: the tree, and a copy of
# the sources beside it, are then put where it can go.
pgha_project_is_open()
{
	[ "$(id -u)" -ne 0 ] ||
		setpriv --reuid="$PGHA_USER" --regid="$PGHA_USER" --clear-groups \
			test -r "$PGHA_PROJECT/pg_ha.control" -a \
				-r "$PGHA_PROJECT/t" -a -x "$PGHA_PROJECT/t"
}

if [ -z "${PGHA_SRC:-}" ]
then
	if pgha_project_is_open
	then
		PGHA_SRC=$PGHA_PROJECT
		: "${PGHA_TREE:=$PGHA_PROJECT/.tree}"
	else
		: "${PGHA_TREE:=/var/tmp/pg_ha-$pgha_id}"
		PGHA_SRC=$PGHA_TREE/src
	fi
fi

# Not inside the tree, nor the project: Unix sockets need a short path.
: "${PGHA_WORK:=/var/tmp/pg_ha-$pgha_id-$PGHA_USER}"

# By its full path: below, PATH comes to find the private tree's pg_config.
PG_CONFIG=$(command -v "${PG_CONFIG:-pg_config}")
: "${PGHA_BINDIR:=$PGHA_TREE$("$PG_CONFIG" --bindir)}"

if [ -z "${PGHA_CONSUL:-}" ]
then
	PGHA_CONSUL=$(command -v consul || :)
	if [ -z "$PGHA_CONSUL" ]
	then
		PGHA_CONSUL=$PGHA_PROJECT/.deps/bin/consul
		[ "$PGHA_SRC" = "$PGHA_PROJECT" ] ||
			PGHA_CONSUL=$PGHA_TREE/consul
	fi
fi

case ":$PATH:" in
	*":$PGHA_BINDIR:"*) ;;
	*) PATH=$PGHA_BINDIR:$PATH ;;
esac

export PGHA_PROJECT PGHA_SRC PGHA_TREE PGHA_BINDIR PGHA_CONSUL PGHA_USER \
	PGHA_WORK PG_CONFIG PATH
