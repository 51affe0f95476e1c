# ring 0's code, copied from the sentry's read-only data into the VM.
EXTRA_OBJ += $(BUILD)/backends/kvm/ring0/ring0.o
