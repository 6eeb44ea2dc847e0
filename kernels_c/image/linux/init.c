/*
 * The first program of a Linux system inside gem5. After a checkpoint it takes its work from gem5's read_file: a
 * static executable and, per process, images. It runs one process of the executable per set of images, hands their
 * logits to gem5 as logits.<k>.bin and what became of them as processes.txt, and ends the simulation.
 *
 * While the processes run, init wakes up at short intervals and fills all vector registers with numbers of its own: the
 * kernel must save and restore the processes' registers many times.
 *
 * The work file, little-endian: struct work, the executable, the images of process 0, 1, ...
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../runtime/gem5_ops.h"

struct work {
    char magic[8];          /* "SMOLWORK" */
    uint64_t processes;     /* 1 .. MOST */
    uint64_t program_bytes; /* of the executable */
    uint64_t images_bytes;  /* of one process's images */
    uint64_t images;        /* how many they are */
    uint64_t regions;       /* 1: the processes write statistics per layer; 0: all belongs to one block */
    uint64_t wake_ns;       /* interval of init's wake-ups; 0: none */
};

#define MOST 8
#define RESET_STATS 0x40
GEM5_OPERATION(gem5_reset_stats_, RESET_STATS)

static _Noreturn void die(const char *what)
{
    printf("init: %s: %s\n", what, strerror(errno));
    gem5_end(1);
    for (;;)
        pause();
}

/* Memory whose pages are present, as gem5 needs it. */
static uint8_t *memory(uint64_t bytes)
{
    void *p = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        die("no memory for the work file");
    memset(p, 1, bytes + 1);
    return p;
}

static void put_file(const char *name, const uint8_t *from, uint64_t bytes, int mode)
{
    const int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (file < 0)
        die(name);
    while (bytes > 0) {
        const ssize_t put = write(file, from, bytes);
        if (put <= 0)
            die(name);
        from += put;
        bytes -= (uint64_t)put;
    }
    close(file);
}

/* Part of the work file into a file of this system. */
static void fetch(const char *name, uint64_t offset, uint64_t bytes, int mode)
{
    uint8_t *content = memory(bytes);
    if (gem5_read_file(content, bytes, offset) != bytes) {
        errno = EIO;
        die("the work file is too short");
    }
    put_file(name, content, bytes, mode);
    munmap(content, bytes + 1);
}

static void hand_out(const char *inside, const char *outside)
{
    struct stat about;
    const int file = open(inside, O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0)
        return; /* a process that failed may have left none; processes.txt tells */
    const uint64_t bytes = (uint64_t)about.st_size;
    uint8_t *content = memory(bytes);
    uint64_t have = 0;
    while (have < bytes) {
        const ssize_t got = read(file, content + have, bytes - have);
        if (got <= 0)
            die(inside);
        have += (uint64_t)got;
    }
    close(file);
    gem5_write_file(content, bytes, 0, outside);
    munmap(content, bytes + 1);
}

static pid_t start(unsigned k, const struct work *work)
{
    char images[16], logits[16], count[24];
    snprintf(images, sizeof images, "/images.%u", k);
    snprintf(logits, sizeof logits, "/logits.%u", k);
    snprintf(count, sizeof count, "%llu", (unsigned long long)work->images);
    char *arguments[] = {"/program", images, logits, count, work->regions ? "--roi" : NULL, NULL};
    char *environment[] = {NULL};
    fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        die("cannot fork");
    if (child == 0) {
        execve("/program", arguments, environment);
        printf("init: cannot run the program: %s\n", strerror(errno));
        fflush(stdout);
        _exit(127);
    }
    return child;
}

/* All 32 vector registers, to numbers that differ from call to call. */
static void disturb(uint64_t seed)
{
#define FILL(n) "add %0, %0, #7\n\tdup v" #n ".2d, %0\n\t"
    __asm__ volatile(FILL(0) FILL(1) FILL(2) FILL(3) FILL(4) FILL(5) FILL(6) FILL(7)
                     FILL(8) FILL(9) FILL(10) FILL(11) FILL(12) FILL(13) FILL(14) FILL(15)
                     FILL(16) FILL(17) FILL(18) FILL(19) FILL(20) FILL(21) FILL(22) FILL(23)
                     FILL(24) FILL(25) FILL(26) FILL(27) FILL(28) FILL(29) FILL(30) FILL(31)
                     : "+r"(seed) : :
                     "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
                     "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                     "v29", "v30", "v31");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("init: system is up\n");
    gem5_checkpoint();

    static struct work work;
    memset(&work, 1, sizeof work);
    if (gem5_read_file(&work, sizeof work, 0) != sizeof work || memcmp(work.magic, "SMOLWORK", 8) != 0 ||
        work.processes < 1 || work.processes > MOST) {
        errno = EINVAL;
        die("no work file");
    }
    uint64_t offset = sizeof work;
    fetch("/program", offset, work.program_bytes, 0755);
    offset += work.program_bytes;
    for (unsigned k = 0; k < work.processes; k++, offset += work.images_bytes) {
        char name[16];
        snprintf(name, sizeof name, "/images.%u", k);
        fetch(name, offset, work.images_bytes, 0644);
    }

    gem5_reset_stats_(0, 0, 0, 0);
    pid_t children[MOST];
    int status[MOST] = {0};
    struct rusage usage[MOST];
    for (unsigned k = 0; k < work.processes; k++)
        children[k] = start(k, &work);

    if (work.wake_ns) {
        /* Real-time: a wake-up takes the core at once, and afterwards the process that waited longer goes on. */
        const struct sched_param priority = {.sched_priority = 1};
        if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &priority) != 0)
            die("cannot become a real-time process");
    }
    uint64_t wakes = 0;
    for (unsigned running = (unsigned)work.processes; running > 0;) {
        struct rusage used;
        int ended;
        const pid_t child = wait4(-1, &ended, work.wake_ns ? WNOHANG : 0, &used);
        if (child == 0) {
            const struct timespec interval = {0, (long)work.wake_ns};
            disturb(++wakes);
            nanosleep(&interval, NULL);
            continue;
        }
        for (unsigned k = 0; k < work.processes; k++)
            if (children[k] == child) {
                status[k] = ended;
                usage[k] = used;
                running--;
            }
    }

    static char report[4096];
    memset(report, 0, sizeof report);
    int length = 0, worst = 0;
    for (unsigned k = 0; k < work.processes; k++) {
        const int signal = WIFSIGNALED(status[k]) ? WTERMSIG(status[k]) : 0;
        const int code = WIFEXITED(status[k]) ? WEXITSTATUS(status[k]) : 0;
        char inside[16], outside[20];
        snprintf(inside, sizeof inside, "/logits.%u", k);
        snprintf(outside, sizeof outside, "logits.%u.bin", k);
        hand_out(inside, outside);
        length += snprintf(report + length, sizeof report - (size_t)length, "%d %d %ld %ld\n", code, signal,
                           usage[k].ru_nvcsw, usage[k].ru_nivcsw);
        if (signal)
            printf("init: process %u was ended by signal %d\n", k, signal);
        else if (code)
            printf("init: process %u ended with status %d\n", k, code);
        worst |= code | signal;
    }
    fflush(stdout);
    gem5_write_file(report, (uint64_t)length, 0, "processes.txt");
    gem5_end(worst ? 1 : 0);
    for (;;)
        pause();
}
