// Keeps the device busy for some time, so that launches pile up behind it and then run back to back:
// a kernel shorter than a launch from Python is otherwise timed as the launch.
extern "C" __global__ void hold(unsigned long long nanoseconds) {
    unsigned long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - start < nanoseconds);
}
