# pg_ha: the modules, the launcher, and everything that tests them.
#
# "make help" lists the targets.  PG_CONFIG chooses the server, BUILD the
# directory of what is built, WERROR=1 (implied by CI=1) makes warnings errors,
# V=1 shows the commands.

PG_CONFIG ?= pg_config
BUILD ?= build
PROVE_JOBS ?= 2

EXTENSION = pg_ha
DATA = $(wildcard sql/pg_ha--*.sql)
REGRESS = $(sort $(patsubst sql/%.sql,%,$(filter-out $(DATA),$(wildcard sql/*.sql))))
EXTRA_CLEAN = $(BUILD)

# What is plain C is compiled once and linked wherever it is needed.
CORE_SRCS = $(wildcard src/core/*.c)
DCS_SRCS = $(wildcard src/dcs/*.c)

# src/worker has two modules in it: what only the background worker loads is
# in files named worker*.c, so that libcurl stays out of ordinary backends.
WORKER_SRCS = $(wildcard src/worker/worker*.c)
BACKEND_SRCS = $(filter-out $(WORKER_SRCS),$(wildcard src/worker/*.c))
LAUNCHER_SRCS = $(wildcard src/launcher/*.c)

SIM_SRCS = $(wildcard sim/*.c)
UNIT_SRCS = $(wildcard t/unit/test_*.c)
TAP_TESTS_ALL = $(sort $(wildcard t/*.pl))

CORE_OBJS = $(CORE_SRCS:%.c=$(BUILD)/%.o)
DCS_OBJS = $(DCS_SRCS:%.c=$(BUILD)/%.o)
WORKER_OBJS = $(WORKER_SRCS:%.c=$(BUILD)/%.o)
BACKEND_OBJS = $(BACKEND_SRCS:%.c=$(BUILD)/%.o)
LAUNCHER_OBJS = $(LAUNCHER_SRCS:%.c=$(BUILD)/%.o)
PLAIN_ASAN_OBJS = $(CORE_SRCS:%.c=$(BUILD)/asan/%.o) \
	$(DCS_SRCS:%.c=$(BUILD)/asan/%.o)
SIM_OBJS = $(SIM_SRCS:%.c=$(BUILD)/%.o)
SIM_ASAN_OBJS = $(SIM_SRCS:%.c=$(BUILD)/asan/%.o)
UNIT_OBJS = $(UNIT_SRCS:%.c=$(BUILD)/asan/%.o)

# Unit tests of the launcher's parts are linked with all of it but main.
LAUNCHER_UNIT_SRCS = $(wildcard t/unit/launcher_test_*.c)
LAUNCHER_UNIT_OBJS = $(LAUNCHER_UNIT_SRCS:%.c=$(BUILD)/asan/%.o)
LAUNCHER_ASAN_OBJS = $(filter-out %/main.o,$(LAUNCHER_SRCS:%.c=$(BUILD)/asan/%.o))
LAUNCHER_UNIT_BUILT = $(LAUNCHER_UNIT_SRCS:t/unit/%.c=$(BUILD)/unit/%)

# A part whose sources are absent is not built.
MODULES_BUILT = $(if $(BACKEND_SRCS),$(BUILD)/pg_ha.so) \
	$(if $(WORKER_SRCS),$(BUILD)/pg_ha_worker.so)
LAUNCHER_BUILT = $(if $(LAUNCHER_SRCS),$(BUILD)/pg_ha_launcher)
SIM_BUILT = $(if $(SIM_SRCS),$(BUILD)/pg_ha_sim $(BUILD)/pg_ha_sim_asan)
UNIT_BUILT = $(UNIT_SRCS:t/unit/%.c=$(BUILD)/unit/%)

.PHONY: all modules launcher units sim help
all: modules launcher

# The server, if it is there.  Without it only the targets that do not compile
# are offered; "make test" and "make demo" install it and start over.
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
INCLUDEDIR_SERVER := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
HAVE_SERVER := $(and $(wildcard $(PGXS)),$(wildcard $(INCLUDEDIR_SERVER)/postgres.h))

modules: $(MODULES_BUILT) ## build pg_ha.so and pg_ha_worker.so only
launcher: $(LAUNCHER_BUILT) ## build pg_ha_launcher only
units: $(UNIT_BUILT) $(LAUNCHER_UNIT_BUILT) ## build the unit tests
sim: $(SIM_BUILT) ## build the simulator; SEEDS=A..B or SEEDS=N runs them
ifneq ($(SEEDS),)
	$(BUILD)/pg_ha_sim --jobs $(or $(SIM_JOBS),$(shell nproc)) --seeds $(SEEDS)
endif

help: ## list the targets
	@echo "all: build everything (the default)"
	@echo "install, uninstall, clean: as usual; DESTDIR is honoured"
	@echo "installcheck: the SQL tests, against a running server"
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1: /p' Makefile

# ---------------------------------------------------------------------------
# Flags

# PostgreSQL's flags, and ours on top.
WARNINGS = -Wextra -Wshadow -Wstrict-prototypes -Wswitch-enum -Wformat=2 \
	-Wno-unused-parameter
ifneq ($(filter-out 0 no false,$(CI) $(WERROR)),)
WARNINGS += -Werror
endif

HA_CFLAGS = -std=gnu11 $(CFLAGS) $(WARNINGS) -fPIC -MMD -MP

# No PostgreSQL header is in reach of core and dcs.
PLAIN_CPPFLAGS = $(sort $(filter -D%,$(CPPFLAGS)) -D_GNU_SOURCE) -Isrc

# PostgreSQL's headers are not ours to keep free of warnings.
SERVER_CPPFLAGS = $(patsubst -I/%,-isystem /%,$(filter-out -I. -I./,$(CPPFLAGS))) \
	-Isrc
FRONTEND_CPPFLAGS = -DFRONTEND $(SERVER_CPPFLAGS) \
	-isystem $(shell $(PG_CONFIG) --includedir)

# What is tested apart from the server runs under the sanitizers.  The array
# bounds that _FORTIFY_SOURCE checks, they check too.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined
ASAN_CFLAGS = $(filter-out -O% -flto% -ffat-lto-objects,$(HA_CFLAGS)) -O1 -g \
	-fno-omit-frame-pointer $(SANITIZE)
ASAN_CPPFLAGS = $(filter-out -D_FORTIFY_SOURCE%,$(PLAIN_CPPFLAGS)) -Isim -It/unit

PLAIN_LIBS = -lcurl -ljansson -lm
STATIC_LIBS = $(foreach lib,libpgcommon.a libpgport.a,\
	$(firstword $(wildcard $(pkglibdir)/$(lib) $(libdir)/$(lib)) $(lib)))
LAUNCHER_LIBS = $(STATIC_LIBS) -L$(libdir) -lpq -lmicrohttpd -lcrypto -lpthread \
	$(PLAIN_LIBS)

# ---------------------------------------------------------------------------
# Rules

Q = $(if $(V),,@)

ifneq ($(HAVE_SERVER),)

# Included late: "all" above is the default target, and PGXS adds to it.
include $(PGXS)

# The flags are in this file, so what depends on them depends on it.
$(CORE_OBJS) $(DCS_OBJS) $(SIM_OBJS): $(BUILD)/%.o: %.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) $(HA_CFLAGS) $(PLAIN_CPPFLAGS) -c -o $@ $<

$(WORKER_OBJS) $(BACKEND_OBJS): $(BUILD)/%.o: %.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) $(HA_CFLAGS) $(SERVER_CPPFLAGS) -c -o $@ $<

$(LAUNCHER_OBJS): $(BUILD)/%.o: %.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) $(HA_CFLAGS) $(FRONTEND_CPPFLAGS) -c -o $@ $<

$(PLAIN_ASAN_OBJS) $(SIM_ASAN_OBJS) $(UNIT_OBJS): $(BUILD)/asan/%.o: %.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) $(ASAN_CFLAGS) $(ASAN_CPPFLAGS) -c -o $@ $<

# Both modules are in one process and both contain core: -Bsymbolic lets each
# run the copy that it was built with.
$(BUILD)/pg_ha.so: $(BACKEND_OBJS) $(CORE_OBJS)
	@echo "LD $@"
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-Bsymbolic -o $@ $^ $(LDFLAGS) -lm

$(BUILD)/pg_ha_worker.so: $(WORKER_OBJS) $(CORE_OBJS) $(DCS_OBJS)
	@echo "LD $@"
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-Bsymbolic -o $@ $^ $(LDFLAGS) $(PLAIN_LIBS)

$(BUILD)/pg_ha_launcher: $(LAUNCHER_OBJS) $(CORE_OBJS) $(DCS_OBJS)
	@echo "LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDFLAGS_EX) $(LAUNCHER_LIBS)

$(BUILD)/pg_ha_sim: $(SIM_OBJS) $(CORE_OBJS)
	@echo "LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) -lm

$(BUILD)/pg_ha_sim_asan: $(SIM_ASAN_OBJS) $(CORE_SRCS:%.c=$(BUILD)/asan/%.o)
	@echo "LD $@"
	$(Q)$(CC) $(ASAN_CFLAGS) -o $@ $^ -lm

$(UNIT_BUILT): $(BUILD)/unit/%: $(BUILD)/asan/t/unit/%.o $(PLAIN_ASAN_OBJS)
	@$(MKDIR_P) $(@D)
	@echo "LD $@"
	$(Q)$(CC) $(ASAN_CFLAGS) -o $@ $^ $(PLAIN_LIBS)

$(LAUNCHER_ASAN_OBJS) $(LAUNCHER_UNIT_OBJS): $(BUILD)/asan/%.o: %.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) $(ASAN_CFLAGS) -It/unit \
		$(filter-out -D_FORTIFY_SOURCE%,$(FRONTEND_CPPFLAGS)) -c -o $@ $<

$(LAUNCHER_UNIT_BUILT): $(BUILD)/unit/%: $(BUILD)/asan/t/unit/%.o \
		$(LAUNCHER_ASAN_OBJS) $(PLAIN_ASAN_OBJS)
	@$(MKDIR_P) $(@D)
	@echo "LD $@"
	$(Q)$(CC) $(ASAN_CFLAGS) -o $@ $^ $(LAUNCHER_LIBS)

# Intermediate objects of the tests are kept.
.SECONDARY:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

install: install-programs
uninstall: uninstall-programs

.PHONY: install-programs uninstall-programs
install-programs: all
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)' '$(DESTDIR)$(bindir)'
	for module in $(MODULES_BUILT); do \
		$(INSTALL_SHLIB) $$module '$(DESTDIR)$(pkglibdir)/' || exit; done
	for program in $(LAUNCHER_BUILT); do \
		$(INSTALL_PROGRAM) $$program '$(DESTDIR)$(bindir)/' || exit; done

uninstall-programs:
	rm -f '$(DESTDIR)$(pkglibdir)/pg_ha.so' \
		'$(DESTDIR)$(pkglibdir)/pg_ha_worker.so' \
		'$(DESTDIR)$(bindir)/pg_ha_launcher'

else

$(MODULES_BUILT) $(LAUNCHER_BUILT) $(SIM_BUILT) $(UNIT_BUILT): no-server

.PHONY: no-server all install uninstall installcheck clean distclean
no-server:
	@echo "PostgreSQL's server headers are missing; run scripts/setup" >&2
	@echo "(or name another server's with PG_CONFIG=/path/to/pg_config)" >&2
	@exit 1

all install uninstall installcheck: no-server

clean:
	rm -rf $(EXTRA_CLEAN)

distclean: clean

endif

# The private tree and the downloaded programs are no part of "clean".
.PHONY: distclean-tree
distclean: distclean-tree
distclean-tree:
	scripts/private-tree --remove
	rm -rf .deps

# ---------------------------------------------------------------------------
# Tests and the demo.  Once scripts/setup has run, only faults across network
# namespaces need root; without it they are skipped.

.PHONY: test check-all check-unit check-sim check-regress check-tap tree \
	check-faults check-frozen soak demo demo-stop lint indent

# The server may be missing when make starts, hence the second make.
# All rows take ten minutes; these are those that no scenario of t/*.pl is like.
# A machine that does other things besides gets three times as long for each.
FAULT_ROWS ?= 6 8 11 15 21

test: ## set up, build and run every test
	scripts/setup
	$(MAKE) check-all

# One after the other, also under -j: they share the private tree.
check-all: ## every test (of the faults, FAULT_ROWS), without looking for missing packages
	$(MAKE) tree
	$(MAKE) check-unit
	$(MAKE) check-sim
	$(MAKE) check-regress
	$(MAKE) check-tap
	$(MAKE) check-faults ROWS="$(FAULT_ROWS)" PATIENCE=3
	@. scripts/env.sh && echo "all tests passed; logs are in $$PGHA_WORK"

# The client that tests, benchmarks and the demo measure with.
WRITER = $(BUILD)/pg_ha_writer
$(WRITER): t/tools/writer.c Makefile
	@$(MKDIR_P) $(@D)
	@echo "CC $@"
	$(Q)$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -isystem $(shell $(PG_CONFIG) --includedir) \
		-o $@ $< $(LDFLAGS) -L$(shell $(PG_CONFIG) --libdir) -lpq

tree: all $(WRITER) ## install into a private copy of the server
	scripts/private-tree
	. scripts/env.sh && $(MAKE) -s install DESTDIR="$$PGHA_TREE" && \
		install -m 755 $(WRITER) "$$PGHA_BINDIR/"
	scripts/private-tree --stage

check-unit: units ## the unit tests, under sanitizers
ifeq ($(UNIT_SRCS),)
	@echo "no unit tests in t/unit"
else
	prove -e '' $(PROVE_FLAGS) $(UNIT_BUILT) $(LAUNCHER_UNIT_BUILT)
endif

# sim/run knows which seeds and how many.
check-sim: sim ## the simulator: scenarios, seeds, mutations
ifeq ($(SIM_SRCS),)
	@echo "no simulator in sim"
else
	sim/run $(SIM_BUILT)
endif

check-regress: tree ## the SQL tests, in a temporary instance
ifeq ($(REGRESS),)
	@echo "no SQL tests in sql"
else
	scripts/as-postgres scripts/run-regress $(REGRESS)
endif

check-tap: tree ## the scenarios with a real Consul; TAP="t/x.pl" chooses
ifeq ($(TAP_TESTS_ALL),)
	@echo "no scenarios in t"
else
	scripts/as-postgres scripts/run-tap -j $(PROVE_JOBS) $(PROVE_FLAGS) \
		$(or $(TAP),$(TAP_TESTS_ALL))
endif

# As root, for the network namespaces; without it they are skipped.
check-faults: tree ## every fault across network namespaces; ROWS="6 11" chooses
	ROWS="$(ROWS)" PATIENCE="$(PATIENCE)" scripts/run-faults -v $(PROVE_FLAGS) t/faults/rows.pl

check-frozen: tree ## RUNS (20) times a frozen primary, judged by pinned and pipelined clients
	RUNS="$(or $(RUNS),20)" scripts/run-faults -v $(PROVE_FLAGS) t/faults/frozen.pl

soak: tree ## faults at random for MINUTES, by SEED
	MINUTES="$(or $(MINUTES),2)" SEED="$(SEED)" \
		scripts/run-faults -v $(PROVE_FLAGS) t/faults/soak.pl

demo: ## run the demonstration
	scripts/setup
	$(MAKE) tree
	scripts/demo-directory
	scripts/as-postgres demo/run $(DEMO_ARGS)

demo-stop: ## stop what the demonstration left running
	scripts/as-postgres demo/stop

lint: ## clang-tidy and cppcheck
	scripts/setup --lint
	@SERVER_CPPFLAGS="$(SERVER_CPPFLAGS)" \
		FRONTEND_CPPFLAGS="$(FRONTEND_CPPFLAGS)" tools/lint $(FILES)

indent: ## format the sources as PostgreSQL's are
	tools/indent $(FILES)
