# vmdkdelta: VMDK deltas over any nbdkit export.  "make help" lists the targets.
#
# Everything is found by wildcard: a new .c file in one of the directories below
# needs no change here.  One directory per variant holds what is built:
#
#   make                             build/plain/..., modules and tool at their
#                                    fixed places (filter/, plugin/, tool/)
#   make SANITIZE=address,undefined  build/address-undefined/..., modules and tool there too
#   make VARIANT=name CC=clang ...   build/name/..., the same
#
# Also: V=1 shows commands, WERROR=1 makes warnings errors, JOBS=N sets how many
# tests run at a time (two for each processor), and CC, CPPFLAGS, CFLAGS, LDFLAGS are honoured.

VERSION    := 0.1.0
PREFIX     ?= /usr/local
CFLAGS     ?= -O2 -g
PKG_CONFIG ?= pkg-config
JOBS       ?= $(shell nproc)
# Tests wait for servers, locks and delays for half of their time.
TEST_JOBS  := $(if $(filter file,$(origin JOBS)),$(shell echo $$((2 * $(JOBS)))),$(JOBS))
SANITIZE   ?=
WERROR     ?=
V          ?=

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
comma := ,
Q     := $(if $(V),,@)
say    = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-5s %s\n' '$(1)' '$@')

# ---- Where things go ------------------------------------------------------

VARIANT := $(or $(subst $(comma),-,$(SANITIZE)),plain)
B       := build/$(VARIANT)
OUT     := $(if $(filter plain,$(VARIANT)),,$(B)/)

LIB       := $(B)/lib/libvmdkdelta.a
MAKER     := $(B)/tests/libmaker.a
FILTER    := $(if $(wildcard filter/*.c),$(OUT)filter/nbdkit-vmdkdelta-filter.so)
PLUGIN    := $(if $(wildcard plugin/*.c),$(OUT)plugin/nbdkit-vmdk-plugin.so)
TOOL      := $(if $(wildcard tool/*.c),$(OUT)tool/vmdkdelta)
MKIMAGE   := $(if $(wildcard tests/mkimage.c),$(B)/tests/mkimage)
NODLCLOSE := $(if $(SANITIZE),$(B)/tests/nodlclose.so)
BENCHES   := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))
DRIVERS   := $(patsubst tests/drive/%.c,$(B)/tests/%,$(wildcard tests/drive/*.c))
TRIAL     := $(if $(wildcard tests/trial/*.c),$(B)/tests/trial/trial)
FAULTS    := $(if $(wildcard tests/faults/*.c),$(B)/tests/faults/faults)
CRASH     := $(if $(wildcard tests/crash/*.c),$(B)/tests/crash/crash)
UNITS     := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test-*.c))
FUZZERS   := $(patsubst %.c,$(B)/%,$(wildcard fuzz/target-*.c))
MANPAGES  := $(patsubst docs/%.pod,build/man/%.1,$(wildcard docs/*.pod))

objects    = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
WINGS     := $(sort $(dir $(wildcard lib/*/*.c)))
UNIT_HELP := $(filter-out $(B)/tests/unit/test-%,$(call objects,tests/unit))

# The fuzz targets: with libFuzzer ("make fuzz") or as replayers of tests/corpus.
LIBFUZZER := $(findstring fuzzer,$(SANITIZE))
FUZZ_HELP := $(patsubst %,$(B)/fuzz/%.o,memory disk image $(if $(LIBFUZZER),,replay))
FUZZ_TEXT := $(patsubst %,$(B)/fuzz/target-%,descriptor vbox vmx)

# Comparisons of numbers are not worth their time in the walks over tables; the
# fuzzer's own mutations (fuzz/mutate.c) know what numbers mean.
NO_CMP    := $(if $(LIBFUZZER),-fno-sanitize-coverage=trace-cmp$(comma)indirect-calls)

# ---- What is built with what ----------------------------------------------
#
# pkg-config is asked when a recipe first needs the answer, not when make reads
# this file: with "make deps check" nothing is installed yet at that time.

ask    = $(eval $(1) := $$(shell $(PKG_CONFIG) $(2)))$($(1))
NBDKIT_CFLAGS  = $(call ask,NBDKIT_CFLAGS,--cflags nbdkit)
NBDKIT_VERSION = $(call ask,NBDKIT_VERSION,--modversion nbdkit)
DEFLATE_CFLAGS = $(call ask,DEFLATE_CFLAGS,--cflags libdeflate)
DEFLATE_LIBS   = $(call ask,DEFLATE_LIBS,--libs libdeflate)
XML_CFLAGS     = $(call ask,XML_CFLAGS,--cflags libxml-2.0)
XML_LIBS       = $(call ask,XML_LIBS,--libs libxml-2.0)
NBD_CFLAGS     = $(call ask,NBD_CFLAGS,--cflags libnbd)
NBD_LIBS       = $(call ask,NBD_LIBS,--libs libnbd)
# What reads the file systems of guests (lib/guest) may be missing: then that is off.
HAVE_EXT2FS    = $(call ask,HAVE_EXT2FS,--exists ext2fs com_err && echo 1)
GUEST_CFLAGS   = $(if $(HAVE_EXT2FS),-DHAVE_EXT2FS $(call ask,EXT2_CFLAGS,--cflags ext2fs com_err))
GUEST_LIBS     = $(if $(HAVE_EXT2FS),$(call ask,EXT2_LIBS,--libs ext2fs com_err))
# Loaded when it is needed: only its headers are, to build (make LIBCURL= : without).
LIBCURL       ?= $(shell $(PKG_CONFIG) --exists libcurl && echo yes)
CURL_CFLAGS    = $(if $(LIBCURL),-DHAVE_LIBCURL $(call ask,CURL_FLAGS,--cflags libcurl))
CMOCKA_CFLAGS  = $(call ask,CMOCKA_CFLAGS,--cflags cmocka)
CMOCKA_LIBS    = $(call ask,CMOCKA_LIBS,--libs cmocka)
filterdir      = $(call ask,filterdir,--variable=filterdir nbdkit)
plugindir      = $(call ask,plugindir,--variable=plugindir nbdkit)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
SAN  := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
          $(if $(findstring undefined,$(SANITIZE)),-fno-sanitize-recover=undefined))
BASE := -std=gnu11 $(WARN) -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 \
        -DVMDKDELTA_VERSION='"$(VERSION)"' -pthread

# Flags of one directory.  The modules need HAVE_VFPRINTF_PERCENT_M, or the
# compiler does not check the formats given to nbdkit_error and nbdkit_debug.
MODULE            = -Ilib -Icommon -Iremote -fPIC -fvisibility=hidden -Wconversion -DHAVE_VFPRINTF_PERCENT_M=1
$(B)/lib/%.o:     DIR = -Ilib -fPIC -fvisibility=hidden -Wconversion $(DEFLATE_CFLAGS) $(NO_CMP)
$(B)/lib/format/descriptor%.o $(B)/lib/vbox/vbox%.o: NO_CMP =
$(B)/lib/vbox/vbox-xml.o: DIR += $(XML_CFLAGS)
$(B)/lib/guest/%.o: DIR = -Ilib -fPIC -fvisibility=hidden -Wconversion $(DEFLATE_CFLAGS) $(GUEST_CFLAGS)
$(B)/common/%.o:  DIR = $(MODULE) $(NBDKIT_CFLAGS)
$(B)/filter/%.o:  DIR = $(MODULE) $(NBDKIT_CFLAGS)
$(B)/plugin/%.o:  DIR = $(MODULE) $(NBDKIT_CFLAGS)
$(B)/remote/%.o:  DIR = -Ilib -fPIC -fvisibility=hidden -Wconversion $(NBD_CFLAGS)
$(B)/remote/http.o: DIR += $(CURL_CFLAGS)
$(B)/tool/%.o:    DIR = -Ilib -Iremote -Wconversion $(NBD_CFLAGS) $(NO_CMP)
$(B)/tests/%.o:   DIR = -Ilib -Itests/maker -Itests/trial $(DEFLATE_CFLAGS) $(NBD_CFLAGS) $(CMOCKA_CFLAGS)
$(B)/bench/%.o:   DIR = -Itests/maker $(NBD_CFLAGS)
$(B)/fuzz/%.o:    DIR = -Ilib $(if $(LIBFUZZER),-fno-sanitize=fuzzer-no-link)

LINK = $(CC) $(SAN) $(CFLAGS) -pthread $(LDFLAGS)

# ---- Targets --------------------------------------------------------------

.PHONY: all lib tests check check-long vm-test vbox-test trial faults crash matrix bench install uninstall deps demo dist deb rpm clean fuzz fuzzers fuzzers-here coverage lint memcheck help FORCE
# Keep the objects: they are not rubbish because a pattern rule made them.
.SECONDARY:

all: $(LIB) $(FILTER) $(PLUGIN) $(TOOL) $(MANPAGES)  ## build the library, modules, tool and man pages (default)

lib: $(LIB)  ## build only the library

tests: $(UNITS) $(DRIVERS) $(TRIAL) $(FAULTS) $(CRASH) $(MKIMAGE) $(NODLCLOSE) $(FUZZERS)  ## build the test programs, run nothing

RUN_TESTS = top_srcdir='$(CURDIR)' builddir='$(CURDIR)/$(B)' \
  FILTER='$(FILTER:%=$(CURDIR)/%)' PLUGIN='$(PLUGIN:%=$(CURDIR)/%)' TOOL='$(TOOL:%=$(CURDIR)/%)' \
  MKIMAGE='$(MKIMAGE:%=$(CURDIR)/%)' SANITIZE='$(SANITIZE)' \
  NBDKIT_BUILT_FOR="$$(cat $(B)/nbdkit-version)" tests/run --make $$PPID -j $(TEST_JOBS)

check: all tests $(B)/nbdkit-version  ## run the tests; ends with "N passed, N failed[, N skipped]"; TESTS="a b" runs only those
	$(Q)$(RUN_TESTS) $(TESTS)

check-long: all tests $(B)/nbdkit-version  ## run the long tests too (tests/long-*.sh, TEST_LONG=1)
	$(Q)$(RUN_TESTS) --long $(TESTS)

vm-test: all tests $(B)/nbdkit-version  ## boot a Linux guest from the merged disk, in three ways; VM_LOGS=DIR keeps its console
	$(Q)scripts/vm-kernel.sh && $(RUN_TESTS) --long test-vm-cow long-vm-overlay long-vm-migrate

vbox-test:  ## have VirtualBox verify merge and compact, in a new Debian root (needs root)
	$(Q)scripts/vbox-test.sh

matrix:  ## build, test and package against every supported nbdkit, in new Debian roots (needs root); SUITES="trixie sid", LEAN=1
	$(Q)scripts/matrix.sh $(if $(LEAN),--lean) $(SUITES)

trial: $(TRIAL)  ## damage N disks (100000) and check what is read; SUBJECT=qemu-img tests that, SEED=S chooses others, V=1 prints more
	$(Q)$(TRIAL) -n $(or $(N),100000) -s $(or $(SEED),1) $(if $(filter qemu-img,$(SUBJECT)),-q) $(if $(V),-v) \
	  -d "$$(for d in "$$TMPDIR" /dev/shm /tmp; do [ ! -w "$$d" ] || { echo "$$d"; break; }; done)"

# clang's libFuzzer: with address and undefined sanitizers, and, several times as
# fast, without.
fuzzers:
	$(Q)$(MAKE) --no-print-directory CC=clang VARIANT=fuzz SANITIZE=address,undefined,fuzzer-no-link fuzzers-here
	$(Q)$(MAKE) --no-print-directory CC=clang VARIANT=fast SANITIZE=fuzzer-no-link fuzzers-here
fuzzers-here: $(FUZZERS) $(B)/fuzz/pack

fuzz: fuzzers  ## look for inputs that break a property; TIME=600 seconds in all, TARGETS="cowd kdmv" only those
	$(Q)TIME=$(or $(TIME),600) fuzz/run $(TARGETS)

faults: $(FAULTS)  ## make every read, write, flush and allocation fail in turn, on IMAGES (20) images for each operation
	$(Q)$(FAULTS) -v -i $(or $(IMAGES),20) -s $(or $(SEED),1) \
	  -d "$$(for d in "$$TMPDIR" /dev/shm /tmp; do [ ! -w "$$d" ] || { echo "$$d"; break; }; done)"

COVERAGE = $(MAKE) --no-print-directory VARIANT=coverage CFLAGS='-O0 -g --coverage' TEST_TIMEOUT=900
coverage:  ## measure how much of lib/ the tests cover; TESTS="a b" runs only those
	$(Q)$(COVERAGE) check || :
	$(if $(TESTS),,$(Q)$(COVERAGE) IMAGES=3 faults > /dev/null || :)
	$(Q)scripts/coverage build/coverage

MEMCHECK_UNITS := cowd kdmv kdmv-stream sesparse vdi link chain reader descriptor check check-stop \
  journal merge compact-odd write-parts write-tables vbox vbox-edit vbox-files vbox-verify vmx parents lacking refused
memcheck: all tests  ## run unit tests, the command and nbdkit under valgrind
	$(Q)FILTER='$(FILTER:%=$(CURDIR)/%)' PLUGIN='$(PLUGIN:%=$(CURDIR)/%)' TOOL='$(TOOL:%=$(CURDIR)/%)' \
	  MKIMAGE='$(MKIMAGE:%=$(CURDIR)/%)' UNITS='$(patsubst %,$(CURDIR)/$(B)/tests/unit/test-%,$(MEMCHECK_UNITS))' \
	  scripts/memcheck

lint:  ## static analysis of lib/: clang-tidy, cppcheck, gcc -fanalyzer; JOBS=N
	$(Q)JOBS=$(JOBS) scripts/lint

crash: $(CRASH)  ## check N (26000) states that a power failure can leave, for each operation; SEED=S chooses others, V=1 prints more
	$(Q)$(CRASH) -n $(or $(N),26000) -s $(or $(SEED),1) $(if $(V),-v) \
	  -d "$$(for d in "$$TMPDIR" /dev/shm /tmp; do [ ! -w "$$d" ] || { echo "$$d"; break; }; done)"

demo: all $(MKIMAGE)  ## lay a delta over a real file system, and compare
	$(Q)top_srcdir='$(CURDIR)' FILTER='$(FILTER:%=./%)' TOOL='$(TOOL:%=./%)' MKIMAGE='$(MKIMAGE:%=./%)' scripts/demo.sh

bench: all $(MKIMAGE) $(BENCHES)  ## measure; QUICK=1 takes two minutes, ROWS=REGEX selects, BENCH_DIR=DIR KEEP=1 keep the images
	$(Q)FILTER='$(FILTER)' PLUGIN='$(PLUGIN)' TOOL='$(TOOL)' MKIMAGE='$(MKIMAGE)' BENCHES='$(B)/bench' bench/run

deps:  ## install everything needed to build, test and run the demo (apt-get or dnf)
	$(Q)scripts/deps.sh

install: all  ## install into nbdkit's filter and plugin directories and PREFIX (/usr/local), all under DESTDIR
	$(if $(FILTER),$(Q)install -D -m 755 $(FILTER) '$(DESTDIR)$(filterdir)/$(notdir $(FILTER))')
	$(if $(PLUGIN),$(Q)install -D -m 755 $(PLUGIN) '$(DESTDIR)$(plugindir)/$(notdir $(PLUGIN))')
	$(if $(TOOL),$(Q)install -D -m 755 $(TOOL) '$(DESTDIR)$(PREFIX)/bin/vmdkdelta')
	$(Q)for m in $(MANPAGES); do \
	  install -D -m 644 $$m '$(DESTDIR)$(PREFIX)/share/man/man1/'$${m##*/} || exit 1; done
	$(if $(TOOL),$(Q)install -D -m 644 tool/completion '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmdkdelta')

uninstall: | $(B)/flags  ## remove what install put there (same DESTDIR and PREFIX)
	$(Q)rm -f '$(DESTDIR)$(filterdir)/nbdkit-vmdkdelta-filter.so' '$(DESTDIR)$(plugindir)/nbdkit-vmdk-plugin.so' \
	  '$(DESTDIR)$(PREFIX)/bin/vmdkdelta' '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmdkdelta' \
	  $(patsubst build/man/%,'$(DESTDIR)$(PREFIX)/share/man/man1/%',$(MANPAGES))

DIST := nbdkit-vmdkdelta-$(VERSION)
dist:  ## make build/nbdkit-vmdkdelta-VERSION.tar.gz from the last commit, or of an unpacked archive
	$(Q)mkdir -p build
	$(Q)if [ -e .git ]; then \
	  git diff --quiet HEAD || echo 'note: uncommitted changes are not in the archive' >&2; \
	  git archive --format=tar.gz --prefix=$(DIST)/ -o build/$(DIST).tar.gz HEAD; \
	else \
	  tar -czf build/$(DIST).tar.gz --transform 's,^\.,$(DIST),' --sort=name --owner=0 --group=0 \
	    --exclude=./build --exclude='./*/*.so' --exclude=./tool/vmdkdelta .; \
	fi
	@echo build/$(DIST).tar.gz

deb: dist  ## build Debian packages in build/deb; CHECK=1 runs the tests meanwhile (TESTS="a b")
	$(Q)CHECK='$(CHECK)' TESTS='$(TESTS)' JOBS='$(JOBS)' scripts/deb.sh build/$(DIST).tar.gz $(VERSION)

rpm: dist  ## build RPM packages in build/rpm/RPMS
	$(Q)command -v rpmbuild > /dev/null || { echo '"make rpm" needs rpmbuild: dnf install rpm-build, or apt-get install rpm' >&2; exit 1; }
	$(Q)rm -rf build/rpm
	$(Q)rpmbuild -ba -D '_topdir $(CURDIR)/build/rpm' -D '_sourcedir $(CURDIR)/build' $(RPMFLAGS) rpm/nbdkit-vmdkdelta.spec
	@find build/rpm -name '*.rpm'

clean:  ## remove everything that was built, all variants
	$(Q)rm -rf build filter/*.so plugin/*.so tool/vmdkdelta

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r t h; do printf '%-18s %s\n' "$$t" "$$h"; done

# ---- Rules ----------------------------------------------------------------

# With "make deps check" (and -j) nothing starts before deps has finished:
# everything that runs a compiler or pkg-config waits for these two stamps.
# "flags" changes when compiler or flags change; "nbdkit-version" when the
# nbdkit that we build for does, because a filter fits one exact version only.
WAIT := $(filter deps,$(MAKECMDGOALS))
stamp = @mkdir -p $(B); printf '%s\n' '$(subst ','\'',$(1))' > $@.new; \
        if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(B)/flags: FORCE | $(WAIT)
	@$(PKG_CONFIG) --print-errors --exists nbdkit libdeflate libxml-2.0 || \
	  { echo 'Something needed for building is missing.  "make deps" installs it.' >&2; exit 1; }
	$(call stamp,$(CC) $(BASE) $(SAN) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(GUEST_CFLAGS))

$(B)/nbdkit-version: $(B)/flags FORCE
	$(call stamp,$(NBDKIT_VERSION))

$(B)/%.o: %.c $(B)/flags
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(SAN) $(DIR) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(call objects,common) $(call objects,filter) $(call objects,plugin): $(B)/nbdkit-version

$(LIB): $(foreach wing,$(WINGS),$(call objects,$(wing:/=)))
$(MAKER): $(call objects,tests/maker)
$(LIB) $(MAKER):
	$(call say,AR)
	@mkdir -p $(@D); rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

# Modules leave the nbdkit_* symbols undefined: the server resolves them.
$(FILTER): $(call objects,filter) $(call objects,common) $(call objects,remote) $(LIB) filter/filter.syms
$(PLUGIN): $(call objects,plugin) $(call objects,common) $(call objects,remote) $(LIB) plugin/plugin.syms
$(PLUGIN): XML = $(XML_LIBS)
$(FILTER) $(PLUGIN):
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(LINK) -shared -Wl,--version-script=$(filter %.syms,$^) -o $@ $(filter %.o %.a,$^) $(NBD_LIBS) $(XML) $(DEFLATE_LIBS)

$(TOOL): $(call objects,tool) $(call objects,remote) $(LIB)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $(filter %.o %.a,$^) $(NBD_LIBS) $(XML_LIBS) $(DEFLATE_LIBS) $(GUEST_LIBS)

# Callbacks of the modules, with tests/unit/server.c in place of nbdkit.
$(B)/tests/unit/test-filter-callbacks: $(call objects,filter) $(call objects,common) $(call objects,remote)
$(B)/tests/unit/test-plugin-callbacks: $(call objects,plugin) $(call objects,common) $(call objects,remote)
$(B)/tests/unit/test-remote-cache: $(call objects,remote)
$(UNITS): %: %.o $(UNIT_HELP) $(LIB) $(MAKER)
	$(call say,LINK)
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CMOCKA_LIBS) $(NBD_LIBS) $(XML_LIBS) $(DEFLATE_LIBS) $(GUEST_LIBS)

$(MKIMAGE): $(B)/tests/mkimage.o $(MAKER)
$(DRIVERS): $(B)/tests/%: $(B)/tests/drive/%.o $(MAKER)
$(B)/tests/nbd-file: $(call objects,remote) $(LIB)
$(BENCHES): %: %.o $(MAKER)
$(TRIAL): $(call objects,tests/trial) $(MAKER) $(LIB)
# Between the library and the system stands tests/faults/inject.c.
WRAPPED := malloc calloc realloc strdup strndup asprintf open_memstream pthread_create \
  libdeflate_alloc_compressor libdeflate_alloc_decompressor pread64 pwrite64 fallocate64 \
  ftruncate64 copy_file_range fsync fdatasync stat64 lstat64 fstat64 rename renameat2 link linkat \
  unlink opendir realpath lseek64 open64 openat64 syscall
$(FAULTS): private WRAP = $(WRAPPED:%=-Wl,--wrap=%)
$(FAULTS): private XML = $(XML_LIBS) $(GUEST_LIBS)
$(FAULTS): $(call objects,tests/faults) $(patsubst %,$(B)/tests/crash/%.o,scenarios merges writes states) \
  $(B)/tests/trial/images.o $(B)/tests/trial/vdi.o $(B)/fuzz/tool-main.o $(filter-out $(B)/tool/main.o,$(call objects,tool)) \
  $(call objects,remote) \
  $(MAKER) $(LIB)
# The same with tests/crash/record.c.
RECORDED := pwrite64 fallocate64 ftruncate64 copy_file_range fsync fdatasync rename renameat2 link linkat unlink unlinkat \
  mkdir rmdir open64 vd_check_no_writer vd_check_unlocked
$(CRASH): private WRAP = $(RECORDED:%=-Wl,--wrap=%)
$(CRASH): private XML = $(XML_LIBS) $(GUEST_LIBS)
$(CRASH): $(call objects,tests/crash) $(B)/tests/trial/images.o $(B)/tests/trial/vdi.o $(B)/tool/undo.o $(MAKER) $(LIB)
$(MKIMAGE) $(DRIVERS) $(TRIAL) $(FAULTS) $(CRASH) $(BENCHES):
	$(call say,LINK)
	$(Q)$(LINK) $(WRAP) -o $@ $(filter %.o %.a,$^) $(NBD_LIBS) $(XML) $(DEFLATE_LIBS)

# In target-check a verb of the command runs: with main out of the way, and names
# only for the other verbs.
$(B)/fuzz/tool-main.o: tool/main.c $(B)/flags
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -Ilib -Iremote $(SAN) $(CPPFLAGS) $(CFLAGS) -Dmain=tool_main -Wno-missing-prototypes -MMD -MP -c -o $@ $<

$(B)/fuzz/tool-verbs.o: tool/main.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)sed -n '/&verb_check,/d; s/^  &\(verb_[a-z]*\),$$/extern const char \1[64]; const char \1[64];/p' $< | \
	  $(CC) $(CFLAGS) -x c -c -o $@ -

$(B)/fuzz/target-check: $(patsubst %,$(B)/%.o,fuzz/tool-main fuzz/tool-verbs tool/verb-check tool/check-print tool/json \
  tool/open tool/out) $(call objects,remote)
$(B)/fuzz/target-check: NBD = $(NBD_LIBS) $(GUEST_LIBS)
$(B)/fuzz/target-check: WRAP = -Wl,--wrap=out_begin,--wrap=out_commit,--wrap=out_discard,--wrap=vd_check_link,--wrap=vd_check_chain
$(filter-out $(FUZZ_TEXT),$(FUZZERS)): $(if $(LIBFUZZER),$(B)/fuzz/mutate.o)
$(FUZZERS): %: %.o $(FUZZ_HELP) $(LIB)
	$(call say,LINK)
	$(Q)$(LINK) $(if $(LIBFUZZER),-fsanitize=fuzzer) $(WRAP) -o $@ $(filter %.o,$^) $(LIB) $(NBD) $(XML_LIBS) $(DEFLATE_LIBS)

$(B)/fuzz/pack: $(B)/fuzz/pack.o
	$(call say,LINK)
	$(Q)$(LINK) -o $@ $<

# Not sanitized itself: it is preloaded into a program that is not.
$(NODLCLOSE): tests/meta/nodlclose.c $(B)/flags
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(CFLAGS) -fPIC -shared -o $@ $<

build/man/%.1: docs/%.pod Makefile | $(WAIT)
	$(call say,MAN)
	@mkdir -p $(@D)
	$(Q)pod2man --section=1 --name=$* --center='nbdkit-vmdkdelta' \
	  --release='nbdkit-vmdkdelta $(VERSION)' $< $@

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d)
