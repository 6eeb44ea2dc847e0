"""Programs that need no operating system, and a small Linux: start-up code, linker script, initramfs."""
