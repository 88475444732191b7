/*
 * slow_link.c
 *	  A bad cable between two network interfaces: frames go over late, get lost
 *	  or overtake each other, where they belong to one of some ports.
 *
 * usage: slow_link A B DELAY-MS LOSS-PERCENT REORDER-PERCENT SEED [PORT...]
 *
 * What is of none of the ports (with no PORT, nothing is) goes over at once.  A
 * frame that overtakes goes over at once, too.  The header that says what the
 * kernel left to the hardware (checksums, segments) is carried along.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 70000
#define VNET_HEADER 10

typedef struct Frame
{
	struct Frame *next;
	int64_t		due_ms;
	int			to;
	ssize_t		len;
	unsigned char data[];
} Frame;

static Frame *first = NULL;
static Frame **last = &first;

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int
open_interface(const char *name)
{
	struct sockaddr_ll address = {0};
	int			on = 1;
	int			fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	address.sll_family = AF_PACKET;
	address.sll_protocol = htons(ETH_P_ALL);
	address.sll_ifindex = (int) if_nametoindex(name);
	if (fd < 0 || address.sll_ifindex == 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
	{
		perror(name);
		exit(1);
	}
	return fd;
}

/* Whether an IPv4 frame is from or to one of the ports. */
static bool
is_slow(const unsigned char *frame, ssize_t len, char **ports, int nports)
{
	const unsigned char *ip = frame + ETH_HLEN;
	size_t		ip_len;

	if (len < ETH_HLEN + 24 || frame[12] != 0x08 || frame[13] != 0)
		return false;
	ip_len = (size_t) (ip[0] & 15) * 4;
	if (len < (ssize_t) (ETH_HLEN + ip_len + 4))
		return false;
	for (int i = 0; i < nports; i++)
	{
		int			port = atoi(ports[i]);
		const unsigned char *l4 = ip + ip_len;

		if ((l4[0] << 8 | l4[1]) == port || (l4[2] << 8 | l4[3]) == port)
			return true;
	}
	return false;
}

static void
carry(int to, const unsigned char *data, ssize_t len, int64_t due_ms)
{
	Frame	   *frame = malloc(sizeof(Frame) + (size_t) len);

	if (frame == NULL)
		return;					/* lost */
	frame->next = NULL;
	frame->due_ms = due_ms;
	frame->to = to;
	frame->len = len;
	memcpy(frame->data, data, (size_t) len);
	*last = frame;
	last = &frame->next;
}

/* Deliver what is due; how long until the next is. */
static int
deliver(void)
{
	while (first != NULL)
	{
		Frame	   *frame = first;
		int64_t		wait_ms = frame->due_ms - now_ms();

		if (wait_ms > 0)
			return (int) wait_ms;
		if (write(frame->to, frame->data, (size_t) frame->len) < 0)
			perror("write");
		first = frame->next;
		if (first == NULL)
			last = &first;
		free(frame);
	}
	return -1;
}

int
main(int argc, char **argv)
{
	static unsigned char data[FRAME_MAX];
	struct pollfd ends[2];
	int			delay_ms;
	int			loss;
	int			reorder;

	if (argc < 7)
	{
		fprintf(stderr, "usage: slow_link A B DELAY-MS LOSS-PERCENT"
				" REORDER-PERCENT SEED [PORT...]\n");
		return 1;
	}
	for (int i = 0; i < 2; i++)
	{
		ends[i].fd = open_interface(argv[i + 1]);
		ends[i].events = POLLIN;
	}
	delay_ms = atoi(argv[3]);
	loss = atoi(argv[4]);
	reorder = atoi(argv[5]);
	srandom((unsigned int) atoi(argv[6]));
	for (;;)
	{
		poll(ends, 2, deliver());
		for (int i = 0; i < 2; i++)
		{
			ssize_t		len;

			if ((ends[i].revents & POLLIN) == 0 ||
				(len = read(ends[i].fd, data, sizeof(data))) <= VNET_HEADER)
				continue;
			if (!is_slow(data + VNET_HEADER, len - VNET_HEADER, argv + 7, argc - 7) ||
				random() % 100 < reorder)
			{
				if (write(ends[1 - i].fd, data, (size_t) len) < 0)
					perror("write");
			}
			else if (random() % 100 >= loss)
				carry(ends[1 - i].fd, data, len, now_ms() + delay_ms);
		}
	}
}
