# make            library libmcs.a and tools in tools/, release build
# make test       build and run every test      (T=op_gelu: one; S=1: show all output)
# make demo       the whole pipeline on a picture it draws, result in demo-out/
# make weights    trains the small models of weights/mini from seeds: under two hours, resumable
# make losses     four losses from the same start, five seeds each: a table; 16 core-minutes, resumable
# make reproduce  the papers' tables in small on phantoms, with the small models: reproduce-out/
# make bench      time and memory of every stage
# make docs       docs/tools.md from the option tables of the tools
# make fuzz       fuzz the file readers (clang; FUZZ_SECONDS=60 each)
# make parity     programs that tests/parity/*.py compare with PyTorch
# make lint       formatting, layering, static checks
# make install    PREFIX=/usr/local DESTDIR=
# make BUILD=debug|asan|tsan [test]             other builds live in build/$(BUILD)
# make MPI=1 [test]  training on several machines (Open MPI or MPICH); lives in build/$(BUILD)-mpi

BUILD   ?= release
PREFIX  ?= /usr/local
VERSION := 0.1.0
RANKS   := $(filter-out 0 no,$(MPI))
O       := build/$(BUILD)$(if $(RANKS),-mpi)
PKGS    := openblas zlib jansson libpng libjpeg libutf8proc
PKG_CONFIG ?= pkg-config

ifneq ($(RANKS),)
MPI_PKG := $(firstword $(foreach p,ompi-c mpich,$(shell $(PKG_CONFIG) --exists $p && echo $p)))
ifeq ($(MPI_PKG)$(filter clean,$(MAKECMDGOALS)),)
$(error MPI=1 needs Open MPI or MPICH; on Debian: apt-get install libopenmpi-dev openmpi-bin)
endif
$(info MPI: $(MPI_PKG) $(shell $(PKG_CONFIG) --modversion $(MPI_PKG)), in $O)
PKGS += $(MPI_PKG)
endif

PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
ifneq ($(RANKS),)
PKG_CFLAGS := -DMCS_MPI $(patsubst -I%,-isystem %,$(PKG_CFLAGS))
endif
PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(PKGS))
ifeq ($(PKG_LIBS)$(filter clean,$(MAKECMDGOALS)),)
$(error a library is missing; on Debian: apt-get install $(shell cat .ci/packages))
endif

OPT_release := -O3 -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
OPT_debug   := -O1 -g
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
LINK_release := -pie -Wl,-z,relro,-z,now
LINK_asan    := -fsanitize=address,undefined
LINK_tsan    := -fsanitize=thread
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wwrite-strings -Wpointer-arith -Wdouble-promotion -Wvla $(if $(WERROR),-Werror)
CFLAGS  += -std=c11 -D_POSIX_C_SOURCE=200809L -DMCS_VERSION='"$(VERSION)"' -I. $(WARN) \
           $(OPT_$(BUILD)) -fno-math-errno -MMD -MP $(PKG_CFLAGS)
LDFLAGS += $(LINK_$(BUILD))
LDLIBS  += $(PKG_LIBS) -lm -pthread

DIRS  := tensor nn weights image losses cam models
LIB   := $O/libmcs.a
OBJ   := $(patsubst %.c,$O/%.o,$(filter-out $(if $(RANKS),,%_mpi.c),$(wildcard $(DIRS:=/*.c))))
TOOLSRC := $(filter-out tools/cli%,$(wildcard tools/*.c))
CLI     := $O/libcli.a
CLIOBJ  := $(patsubst %.c,$O/%.o,$(wildcard tools/cli*.c))
TOOLS := $(TOOLSRC:%.c=$O/%)
TESTS := $(patsubst %.c,$O/%,$(wildcard tests/test_*.c))
PUBLIC := mcs.h $(filter-out %_internal.h tensor/op.h tensor/gemm.h tensor/vec%.h,$(wildcard $(DIRS:=/*.h)))

.PHONY: all test demo weights losses reproduce bench lint fuzz parity install install-mini clean
.SECONDARY:
all: $(LIB) $(CLI) $(TOOLS) $(if $(filter release,$(BUILD)),libmcs.a $(TOOLSRC:.c=))

$(LIB): $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(CLI): $(CLIOBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$O/tools/cli_shipped.o: CFLAGS += -DMCS_SHARE='"$(PREFIX)/share/mcs"'

$O/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$O/tools/%: $O/tools/%.o $(CLI) $(LIB)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# its calls for memory fail on purpose
$O/tests/test_memory: LDFLAGS += $(foreach f,malloc calloc realloc aligned_alloc,-Wl,--wrap=$f)

$O/tests/test_%: $O/tests/test_%.o $O/tests/check.o $(CLI) $(LIB)
	$(CC) $(LDFLAGS) $^ -lcmocka $(LDLIBS) -o $@

# Compared, for another build may have put its own here.
COPY = cmp -s $< $@ || { rm -f $@ && cp $< $@; }
.PHONY: copy
copy:
libmcs.a: $(LIB) copy
	@$(COPY)
tools/%: $O/tools/% copy
	@$(COPY)

test: $(if $T,$O/tests/test_$T,$(TESTS) $(TOOLS))
	BUILD=$(notdir $O) SHOW=$(S) tests/run.sh $(if $T,$<,$(TESTS) $(wildcard tests/*_test.sh))

$O/tests/parity/%: $O/tests/parity/%.o $(LIB)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@
parity: all $(patsubst %.c,$O/%,$(wildcard tests/parity/*.c))

demo: all
	tests/demo.sh
weights: all
	weights/mini/make.sh
losses: all
	weights/mini/losses.sh
reproduce: all
	tools/reproduce docs/reproduce/phantoms.json -o reproduce-out
bench: all
	tools/bench
docs: all
	tests/tools_md.sh tools > docs/tools.md
lint:
	tests/lint.sh
fuzz:
	tests/fuzz.sh

install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/pkgconfig)
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib
	for h in $(PUBLIC); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/mcs/$$h; done
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@PKGS@|$(PKGS)|' mcs.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/mcs.pc

MINI := $(wildcard $(addprefix weights/mini/,clip.safetensors vocab.txt sam.safetensors zeroshot.json README.md))
ifneq ($(filter %.safetensors,$(MINI)),)
install: install-mini
endif
install-mini:
	install -d $(DESTDIR)$(PREFIX)/share/mcs/mini
	install -m 644 $(MINI) $(DESTDIR)$(PREFIX)/share/mcs/mini

clean:
	rm -rf build libmcs.a $(TOOLSRC:.c=)

-include $(OBJ:.o=.d) $(wildcard $O/tools/*.d $O/tests/*.d $O/tests/parity/*.d)
