# ring 0's code: what is copied from the sentry's read-only data into the VM, and what runs inside it where it stands.
EXTRA_OBJ += $(BUILD)/backends/kvm/ring0/ring0.o $(BUILD)/backends/kvm/ring0/entry.o
INSIDE_SRC += backends/kvm/ring0/entry.c
