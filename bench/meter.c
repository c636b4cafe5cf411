/*
 * What processes use.
 *
 *   bench_meter cpu [-p] PID..     of these process trees: CPU seconds, kB resident, and with -p kB
 * of their proportional share (PSS) bench_meter busy               seconds that the machine's
 * processors were busy, and stolen bench_meter run FILE COMMAND.. runs it; wall, user and system
 * seconds go to FILE
 *
 * Linux only: /proc.
 */
#include "bench.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

typedef struct usage {
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

static long share_of(int pid)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    (void)read_file(path, text, sizeof text);
    const char *line = strstr(text, "\nPss:");
    return line == NULL ? 0 : strtol(line + strlen("\nPss:"), NULL, 10);
}

/* Fields of proc(5)'s stat, from the third on: utime is the 14th. */
static void add_one(int pid, usage *sum)
{
    char path[64];
    char text[2048];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof text) == 0)
        return;
    char *at = strrchr(text, ')');
    if (at == NULL)
        return;
    double ticks = 0;
    for (int field = 3; field <= 24 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field >= 14 && field <= 17)
            ticks += (double)strtol(at + 1, NULL, 10);
        if (at != NULL && field == 24)
            sum->resident_kb += strtol(at + 1, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
    }
    sum->cpu += ticks / (double)sysconf(_SC_CLK_TCK);
}

static void add_tree(int pid, int with_share, usage *sum);

static void add_children(const char *path, int with_share, usage *sum)
{
    char text[65536];
    (void)read_file(path, text, sizeof text);
    for (char *at = text; isdigit((unsigned char)*at);) {
        add_tree((int)strtol(at, &at, 10), with_share, sum);
        at += *at == ' ';
    }
}

static void add_tree(int pid, int with_share, usage *sum)
{
    char path[512];
    add_one(pid, sum);
    if (with_share)
        sum->share_kb += share_of(pid);
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (threads == NULL)
        return;
    for (const struct dirent *e = readdir(threads); e != NULL; e = readdir(threads)) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, e->d_name);
        add_children(path, with_share, sum);
    }
    (void)closedir(threads);
}

static int cpu(int count, char **args)
{
    const int with_share = count > 0 && strcmp(args[0], "-p") == 0;
    usage sum = {0};
    for (int i = with_share; i < count; i++)
        if (strtol(args[i], NULL, 10) > 0)
            add_tree((int)strtol(args[i], NULL, 10), with_share, &sum);
    (void)printf("%.2f %ld %ld\n", sum.cpu, sum.resident_kb, sum.share_kb);
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
    if (argc >= 2 && strcmp(argv[1], "cpu") == 0)
        return cpu(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "busy") == 0)
        return busy();
    if (argc >= 4 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv + 3);
    (void)fprintf(stderr, "usage: bench_meter cpu [-p] PID.. | busy | run FILE COMMAND..\n");
    return 2;
}
