/* /proc/PID/net: one loopback interface, and the heads of tables that are empty. */
#include "fs/proc.h"

#define FILE_TEXT(n, t)	{ .name = n, .mode = S_IFREG | 0444, .text = t }

#define DEV_HEAD \
	"Inter-|   Receive                                                |  Transmit\n" \
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
#define DEV_LO \
	"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"
#define TCP_HEAD \
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode" \
	"                                                     \n"
#define TCP6_HEAD \
	"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when" \
	" retrnsmt   uid  timeout inode\n"
#define UDP_HEAD \
	"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops" \
	"             \n"
#define UDP6_HEAD \
	"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when" \
	" retrnsmt   uid  timeout inode ref pointer drops\n"
#define ROUTE_HEAD \
	"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT" \
	"                                                       \n"
#define IF_INET6	"00000000000000000000000000000001 01 80 10 80       lo\n"

const struct pseudo_entry proc_net_names[] = {
	FILE_TEXT("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"),
	FILE_TEXT("dev", DEV_HEAD DEV_LO),
	FILE_TEXT("if_inet6", IF_INET6),
	FILE_TEXT("netlink", "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"),
	FILE_TEXT("packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
	FILE_TEXT("protocols", "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re"
			       " sp bi br ha uh gp em\n"),
	FILE_TEXT("raw", UDP_HEAD),
	FILE_TEXT("route", ROUTE_HEAD),
	FILE_TEXT("tcp", TCP_HEAD),
	FILE_TEXT("tcp6", TCP6_HEAD),
	FILE_TEXT("udp", UDP_HEAD),
	FILE_TEXT("udp6", UDP6_HEAD),
	FILE_TEXT("unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"),
	{ 0 }
};
