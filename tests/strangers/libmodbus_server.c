/* A Modbus unit by libmodbus, for a master to be tried on. It knows nothing of Busbar.
 *
 *   libmodbus_server rtu TTY BAUD UNIT     at a tty, 8N1
 *   libmodbus_server tcp UNIT              at a free port of 127.0.0.1
 *
 * Prints "ready" or "ready PORT", then serves until it is killed. Holding and input registers
 * FIRST to FIRST + COUNT - 1 exist; anything else gets libmodbus's own exception 02. Inside lies a
 * hole of this program's making, HOLE_FIRST to HOLE_LAST. Holding register a shows a, input
 * register a shows a + 0x8000. Reading BUSY alone gets exception 06, CLOSED hangs up (TCP).
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>
#include <modbus.h>

enum { FIRST = 100, COUNT = 60, HOLE_FIRST = 120, HOLE_LAST = 123, BUSY = 150, CLOSED = 155 };

static modbus_t *context;
static int header; /* bytes in front of a PDU */

static int bound_port(int listener)
{
    struct sockaddr_in name;
    socklen_t size = sizeof name;

    if (getsockname(listener, (struct sockaddr *) &name, &size) != 0)
        return -1;
    return ntohs(name.sin_port);
}

/* libmodbus listens at the port it is given; 0 lets the system choose, and we tell which. */
static int listen_anywhere(void)
{
    int listener = modbus_tcp_listen(context, 1);

    if (listener >= 0)
        printf("ready %d\n", bound_port(listener));
    return listener;
}

static int answer(const uint8_t *query, int size, modbus_mapping_t *map)
{
    int function = query[header];
    int first = query[header + 1] << 8 | query[header + 2];
    int count = query[header + 3] << 8 | query[header + 4];
    int is_read = function == MODBUS_FC_READ_HOLDING_REGISTERS
                  || function == MODBUS_FC_READ_INPUT_REGISTERS;

    if (is_read && first <= HOLE_LAST && first + count > HOLE_FIRST)
        return modbus_reply_exception(context, query, MODBUS_EXCEPTION_ILLEGAL_DATA_ADDRESS);
    if (is_read && first == BUSY && count == 1)
        return modbus_reply_exception(context, query, MODBUS_EXCEPTION_SLAVE_OR_SERVER_BUSY);
    if (is_read && first == CLOSED && count == 1)
        return -1;
    return modbus_reply(context, query, size, map);
}

/* Until the peer is gone; an RTU peer never is. */
static void serve(modbus_mapping_t *map, int is_rtu)
{
    uint8_t query[MODBUS_MAX_ADU_LENGTH];

    for (;;) {
        int size = modbus_receive(context, query);

        if (size > 0 && answer(query, size, map) < 0 && !is_rtu)
            return;
        if (size < 0 && !is_rtu)
            return;
        if (size < 0 && (errno == EIO || errno == EBADF))
            return; /* the tty is gone */
    }
}

int main(int argc, char **argv)
{
    modbus_mapping_t *map;
    int is_rtu = argc == 5 && strcmp(argv[1], "rtu") == 0;
    int listener, at;

    if (!is_rtu && !(argc == 3 && strcmp(argv[1], "tcp") == 0)) {
        fprintf(stderr, "usage: libmodbus_server rtu TTY BAUD UNIT | tcp UNIT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    context = is_rtu ? modbus_new_rtu(argv[2], atoi(argv[3]), 'N', 8, 1)
                     : modbus_new_tcp("127.0.0.1", 0);
    map = modbus_mapping_new_start_address(0, 0, 0, 0, FIRST, COUNT, FIRST, COUNT);
    if (context == NULL || map == NULL || modbus_set_slave(context, atoi(argv[argc - 1])) != 0) {
        fprintf(stderr, "libmodbus_server: %s\n", modbus_strerror(errno));
        return 1;
    }
    for (at = 0; at < COUNT; at++) {
        map->tab_registers[at] = (uint16_t) (FIRST + at);
        map->tab_input_registers[at] = (uint16_t) (FIRST + at + 0x8000);
    }
    header = modbus_get_header_length(context);
    if (is_rtu) {
        if (modbus_connect(context) != 0) {
            fprintf(stderr, "libmodbus_server: %s\n", modbus_strerror(errno));
            return 1;
        }
        puts("ready");
        serve(map, 1);
        return 0;
    }
    listener = listen_anywhere();
    while (listener >= 0 && modbus_tcp_accept(context, &listener) >= 0) {
        serve(map, 0);
        modbus_close(context);
    }
    fprintf(stderr, "libmodbus_server: %s\n", modbus_strerror(errno));
    return 1;
}
