# Workloads: each .c file in micro/ is one program and its twin, each in floors/ one program, without any list to keep.
#
# The same static binary runs natively, in every sandbox and in the emulator, so the sanitizers stay out of it.

WORKLOAD_OUT	:= $(BUILD)/workloads
WORKLOAD_OBJ	:= $(BUILD)/workloads.o
WORKLOAD_NAMES	:= $(basename $(notdir $(wildcard workloads/micro/*.c)))
FLOOR_NAMES	:= $(basename $(notdir $(wildcard workloads/floors/*.c)))
WORKLOAD_BINS	:= $(foreach n,$(WORKLOAD_NAMES),$(WORKLOAD_OUT)/$(n) $(WORKLOAD_OUT)/$(n).twin) $(addprefix $(WORKLOAD_OUT)/,$(FLOOR_NAMES))

WORKLOAD_CFLAGS	= -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -MMD -MP -Iworkloads/include \
		  -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
FREE_CFLAGS	= $(WORKLOAD_CFLAGS) -ffreestanding -fno-builtin
FREE_LDFLAGS	= -static -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack
FREE_OBJ	= $(WORKLOAD_OBJ)/start.o $(WORKLOAD_OBJ)/clone.o
RUN_OBJ		= $(WORKLOAD_OBJ)/run.o

.PHONY: workloads
workloads: $(WORKLOAD_BINS)
all: workloads

$(WORKLOAD_OBJ) $(WORKLOAD_OUT):
	@mkdir -p $@

$(WORKLOAD_OBJ)/%.o: workloads/lib/%.c | $(WORKLOAD_OBJ)
	$(CC) $(FREE_CFLAGS) -c -o $@ $<

$(WORKLOAD_OBJ)/%.twin.o: workloads/lib/%.c | $(WORKLOAD_OBJ)
	$(CC) $(FREE_CFLAGS) -DTWIN -c -o $@ $<

$(WORKLOAD_OBJ)/%.o: workloads/lib/%.S | $(WORKLOAD_OBJ)
	$(CC) $(FREE_CFLAGS) -c -o $@ $<

$(WORKLOAD_OUT)/%: workloads/micro/%.c $(FREE_OBJ) $(RUN_OBJ) | $(WORKLOAD_OUT)
	$(CC) $(FREE_CFLAGS) $(FREE_LDFLAGS) -MF $(WORKLOAD_OBJ)/$*.d -MT $@ -o $@ $< $(FREE_OBJ) $(RUN_OBJ)

$(WORKLOAD_OUT)/%.twin: workloads/micro/%.c $(FREE_OBJ) $(RUN_OBJ:.o=.twin.o) | $(WORKLOAD_OUT)
	$(CC) $(FREE_CFLAGS) -DTWIN $(FREE_LDFLAGS) -MF $(WORKLOAD_OBJ)/$*.twin.d -MT $@ -o $@ $< $(FREE_OBJ) $(RUN_OBJ:.o=.twin.o)

$(WORKLOAD_OUT)/%: workloads/floors/%.c $(WORKLOAD_OBJ)/hosted.o $(RUN_OBJ) | $(WORKLOAD_OUT)
	$(CC) $(WORKLOAD_CFLAGS) -static -MF $(WORKLOAD_OBJ)/$*.d -MT $@ -o $@ $< $(WORKLOAD_OBJ)/hosted.o $(RUN_OBJ)

.SECONDARY: $(FREE_OBJ) $(RUN_OBJ) $(RUN_OBJ:.o=.twin.o) $(WORKLOAD_OBJ)/hosted.o
