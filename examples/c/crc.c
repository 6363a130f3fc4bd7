/* Checks and counts a file as a C command does: reads standard input, takes arguments, ends
 * with an exit code. It prints the CRC-32, bytes, words and lines of its input as one JSON object.
 *
 *   crc               the figures of standard input
 *   crc -c HEX        as well as exit code 2 if the CRC-32 is not HEX
 *
 * Exit codes: 0 all is well, 2 the sum differs, 64 wrong usage, 74 the input could not be read.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, DIFFERS = 2, USAGE = 64, UNREADABLE = 74 };

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
        table[i] = value;
    }
}

int main(int argc, char **argv) {
    const char *expected = NULL;
    if (argc == 3 && strcmp(argv[1], "-c") == 0) {
        expected = argv[2];
    } else if (argc != 1) {
        fprintf(stderr, "usage: crc [-c HEX] < FILE\n");
        return USAGE;
    }

    make_table();
    static unsigned char buffer[65536];
    uint32_t crc = 0xFFFFFFFFu;
    uint64_t bytes = 0, words = 0, lines = 0;
    int in_word = 0;
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        bytes += got;
        for (size_t i = 0; i < got; i++) {
            crc = table[(crc ^ buffer[i]) & 0xFF] ^ (crc >> 8);
            lines += buffer[i] == '\n';
            int space = isspace(buffer[i]) != 0;
            words += in_word == 0 && !space;
            in_word = !space;
        }
    }
    if (ferror(stdin)) {
        perror("crc");
        return UNREADABLE;
    }
    crc ^= 0xFFFFFFFFu;
    printf("{\"crc32\":\"%08" PRIx32 "\",\"bytes\":%" PRIu64 ",\"words\":%" PRIu64 ",\"lines\":%" PRIu64 "}\n", crc, bytes, words, lines);
    if (expected != NULL && strtoul(expected, NULL, 16) != crc) {
        fprintf(stderr, "crc: expected %s, got %08" PRIx32 "\n", expected, crc);
        return DIFFERS;
    }
    return OK;
}
