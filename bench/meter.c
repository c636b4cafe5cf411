/*
 * What processes use. Linux only: /proc.
 *
 *   bench_meter cpu PID..            CPU seconds of these process trees
 *   bench_meter memory PID..         their memory in kB: resident, and proportional share (PSS)
 *   bench_meter busy                 seconds that the machine's processors were busy, and stolen
 *   bench_meter run FILE COMMAND..   runs it; wall, user and system seconds go to FILE
 */
#include "bench.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/wait.h>

typedef struct usage {
    bool with_memory;
    double cpu; /* own, and of every child that was waited for */
    long resident_kb, share_kb;
} usage;

static size_t read_file(const char *path, char *to, size_t room)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd < 0 ? -1 : read(fd, to, room - 1);
    if (fd >= 0)
        (void)close(fd);
    to[got < 0 ? 0 : got] = 0;
    return got < 0 ? 0 : (size_t)got;
}

/* A line of smaps_rollup. */
static long kb_of(const char *rollup, const char *line)
{
    const char *at = strstr(rollup, line);
    return at == NULL ? 0 : strtol(at + strlen(line), NULL, 10);
}

/* Looking costs a walk over all pages: not while CPU is measured. */
static void add_memory(int pid, usage *sum)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    (void)read_file(path, text, sizeof text);
    sum->resident_kb += kb_of(text, "\nRss:");
    sum->share_kb += kb_of(text, "\nPss:");
}

/*
 * proc(5)'s stat counts in hundredths of a second, too coarse for a sample of a second: a thread's
 * own time comes from its schedstat, in nanoseconds. Only what children used that have ended and
 * were waited for (fields 16 and 17 of stat), and all of it where the kernel keeps no schedstat (14
 * and 15), is in ticks.
 */
static double ticks_of(const char *text, int first, int last)
{
    double ticks = 0;
    const char *at = strrchr(text, ')'); /* the end of the second field */
    for (int field = 3; field <= last && at != NULL; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field >= first)
            ticks += (double)strtol(at + 1, NULL, 10);
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* These call each other as deep as the tree of processes is. NOLINTBEGIN(misc-no-recursion) */
static void add_tree(int pid, usage *sum);

static void add_children(const char *path, usage *sum)
{
    char text[65536];
    (void)read_file(path, text, sizeof text);
    for (char *at = text; isdigit((unsigned char)*at);) {
        add_tree((int)strtol(at, &at, 10), sum);
        at += *at == ' ';
    }
}

/* Its own nanoseconds; children hang below the thread that made them. */
static double add_threads(int pid, usage *sum)
{
    char path[512];
    char text[256];
    double ns = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (threads == NULL)
        return 0;
    const struct dirent *e;
    while ((e = readdir(threads)) != NULL) { /* NOLINT(concurrency-mt-unsafe): one thread */
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        if (read_file(path, text, sizeof text) > 0)
            ns += strtod(text, NULL);
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, e->d_name);
        add_children(path, sum);
    }
    (void)closedir(threads);
    return ns;
}

static void add_tree(int pid, usage *sum)
{
    char path[64];
    char text[2048];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof text) == 0)
        return;
    const double ns = add_threads(pid, sum);
    sum->cpu += ns > 0 ? ns / 1e9 : ticks_of(text, 14, 15);
    sum->cpu += ticks_of(text, 16, 17);
    if (sum->with_memory)
        add_memory(pid, sum);
}
/* NOLINTEND(misc-no-recursion) */

static usage trees(int count, char **pids, bool with_memory)
{
    usage sum = {.with_memory = with_memory};
    for (int i = 0; i < count; i++)
        if (strtol(pids[i], NULL, 10) > 0)
            add_tree((int)strtol(pids[i], NULL, 10), &sum);
    return sum;
}

static int cpu(int count, char **pids)
{
    (void)printf("%.4f\n", trees(count, pids, false).cpu);
    return 0;
}

static int memory(int count, char **pids)
{
    const usage sum = trees(count, pids, true);
    (void)printf("%ld %ld\n", sum.resident_kb, sum.share_kb);
    return 0;
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal. */
static int busy(void)
{
    char text[4096];
    double ticks[8] = {0};
    const double hz = (double)sysconf(_SC_CLK_TCK);
    if (read_file("/proc/stat", text, sizeof text) == 0)
        die("/proc/stat");
    char *at = text + strlen("cpu");
    for (size_t i = 0; i < 8; i++)
        ticks[i] = (double)strtol(at, &at, 10) / hz;
    (void)printf("%.2f %.2f\n", ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], ticks[7]);
    return 0;
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static int run(const char *file, char **command)
{
    struct rusage used;
    int status = 0;
    const double begin = now_s();
    const pid_t child = fork();
    if (child == 0) {
        (void)execvp(command[0], command);
        die(command[0]);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        die(command[0]);
    const double wall = now_s() - begin;
    FILE *out = fopen(file, "we");
    if (out == NULL)
        die(file);
    (void)fprintf(out, "%.3f %.3f %.3f\n", wall, seconds(&used.ru_utime), seconds(&used.ru_stime));
    (void)fclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "cpu") == 0)
        return cpu(argc - 2, argv + 2);
    if (argc >= 3 && strcmp(argv[1], "memory") == 0)
        return memory(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "busy") == 0)
        return busy();
    if (argc >= 4 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv + 3);
    (void)fprintf(stderr,
                  "usage: bench_meter cpu PID.. | memory PID.. | busy | run FILE COMMAND..\n");
    return 2;
}
