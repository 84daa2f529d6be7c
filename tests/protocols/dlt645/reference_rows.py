"""What public meter sources say of the data identifiers, written out apart from the catalog.

One line an identifier: `DI format bytes unit sign access OBIS`. The format of a number is its
digits before and behind the point; `u`, `s`, `-`: unsigned, signed, no number; `k`, `n`, `m`, `p`
count what a meter is set to. Unit and OBIS are `-` where there is none. The rows come from a
reference page that compares sources, not from the catalog, so that neither hides the other's slips.
"""

ROWS = """
00000000 6.2 4 kWh s R 1-0:16.8.0
00000100 6.2 4 kWh s R -
0000FF00 6.2 4(1+k) kWh s R -
00000001 6.2 4 kWh s R -
00010000 6.2 4 kWh u R 1-0:1.8.0
00010100 6.2 4 kWh u R 1-0:1.8.1
00010200 6.2 4 kWh u R 1-0:1.8.2
00010300 6.2 4 kWh u R 1-0:1.8.3
00010400 6.2 4 kWh u R 1-0:1.8.4
00013F00 6.2 4 kWh u R 1-0:1.8.63
0001FF00 6.2 4(1+k) kWh u R -
00010001 6.2 4 kWh u R 1-0:1.8.0
0001000C 6.2 4 kWh u R 1-0:1.8.0
000100FF 6.2 52 kWh u R -
00020000 6.2 4 kWh u R 1-0:2.8.0
00020100 6.2 4 kWh u R 1-0:2.8.1
0002FF00 6.2 4(1+k) kWh u R -
00030000 6.2 4 kvarh s R 1-0:3.8.0
0003FF00 6.2 4(1+k) kvarh s R -
00040000 6.2 4 kvarh s R 1-0:4.8.0
0004FF00 6.2 4(1+k) kvarh s R -
00050000 6.2 4 kvarh u R 1-0:5.8.0
00060000 6.2 4 kvarh u R 1-0:6.8.0
00070000 6.2 4 kvarh u R 1-0:7.8.0
00080000 6.2 4 kvarh u R 1-0:8.8.0
0005FF00 6.2 4(1+k) kvarh u R -
00090000 6.2 4 kVAh u R 1-0:9.8.0
000A0000 6.2 4 kVAh u R 1-0:10.8.0
00150000 6.2 4 kWh u R 1-0:21.8.0
00160000 6.2 4 kWh u R 1-0:22.8.0
00170000 6.2 4 kvarh s R -
00180000 6.2 4 kvarh s R -
00190000 6.2 4 kvarh u R -
001A0000 6.2 4 kvarh u R -
001B0000 6.2 4 kvarh u R -
001C0000 6.2 4 kvarh u R -
001D0000 6.2 4 kVAh u R -
001E0000 6.2 4 kVAh u R -
00290000 6.2 4 kWh u R 1-0:41.8.0
002A0000 6.2 4 kWh u R 1-0:42.8.0
003D0000 6.2 4 kWh u R 1-0:61.8.0
003E0000 6.2 4 kWh u R 1-0:62.8.0
00800000 6.2 4 kWh s R -
00810000 6.2 4 kWh u R -
00820000 6.2 4 kWh u R -
00830000 6.2 4 kWh u R -
00840000 6.2 4 kWh u R -
00850000 6.2 4 kWh s R -
00860000 6.2 4 kWh u R -
00900100 6.2 4 kWh u R -
00900101 6.2 4 kWh u R -
00900200 6.2 4 CNY u R 0-0:19.10.x
00900201 6.2 4 CNY u R -
01010000 2.4+YYMMDDhhmm 8 kW u R 1-0:1.6.0
01010100 2.4+YYMMDDhhmm 8 kW u R -
0101FF00 2.4+YYMMDDhhmm 8(1+k) kW u R -
01010001 2.4+YYMMDDhhmm 8 kW u R -
01020000 2.4+YYMMDDhhmm 8 kW u R 1-0:2.6.0
0102FF00 2.4+YYMMDDhhmm 8(1+k) kW u R -
01030000 2.4+YYMMDDhhmm 8 kvar s R -
01040000 2.4+YYMMDDhhmm 8 kvar s R -
01050000 2.4+YYMMDDhhmm 8 kvar u R -
01060000 2.4+YYMMDDhhmm 8 kvar u R -
01070000 2.4+YYMMDDhhmm 8 kvar u R -
01080000 2.4+YYMMDDhhmm 8 kvar u R -
01090000 2.4+YYMMDDhhmm 8 kVA u R -
010A0000 2.4+YYMMDDhhmm 8 kVA u R -
01150000 2.4+YYMMDDhhmm 8 kW u R -
02010100 3.1 2 V u R 1-0:32.7.0
02010200 3.1 2 V u R 1-0:52.7.0
02010300 3.1 2 V u R 1-0:72.7.0
0201FF00 3.1 6 V u R -
02020100 3.3 3 A s R 1-0:31.7.0
02020200 3.3 3 A s R 1-0:51.7.0
02020300 3.3 3 A s R 1-0:71.7.0
0202FF00 3.3 9 A s R -
02030000 2.4 3 kW s R 1-0:16.7.0
02030100 2.4 3 kW s R 1-0:36.7.0
02030200 2.4 3 kW s R 1-0:56.7.0
02030300 2.4 3 kW s R 1-0:76.7.0
0203FF00 2.4 12 kW s R -
02040000 2.4 3 kvar s R 1-0:131.7.0
02040100 2.4 3 kvar s R 1-0:151.7.0
02040200 2.4 3 kvar s R 1-0:171.7.0
02040300 2.4 3 kvar s R 1-0:191.7.0
0204FF00 2.4 12 kvar s R -
02050000 2.4 3 kVA s R 1-0:9.7.0
02050100 2.4 3 kVA s R -
02050200 2.4 3 kVA s R -
02050300 2.4 3 kVA s R -
0205FF00 2.4 12 kVA s R -
02060000 1.3 2 - s R 1-0:13.7.0
02060100 1.3 2 - s R 1-0:33.7.0
02060200 1.3 2 - s R 1-0:53.7.0
02060300 1.3 2 - s R 1-0:73.7.0
0206FF00 1.3 8 - s R -
02070100 3.1 2 deg u R 1-0:81.7.x
02070200 3.1 2 deg u R 1-0:81.7.x
02070300 3.1 2 deg u R 1-0:81.7.x
0207FF00 3.1 6 deg u R -
02080100 2.2 2 % u R -
02080200 2.2 2 % u R -
02080300 2.2 2 % u R -
02090100 2.2 2 % u R -
02090200 2.2 2 % u R -
02090300 2.2 2 % u R -
020A0101 2.2 2 % u R -
020A0102 2.2 2 % u R -
020A01FF 2.2 2n % u R -
020B0101 2.2 2 % u R -
020B0201 2.2 2 % u R -
02800001 3.3 3 A s R 1-0:91.7.0
02800002 2.2 2 Hz u R 1-0:14.7.0
02800003 2.4 3 kW s R -
02800004 2.4 3 kW s R 1-0:1.4.0
02800005 2.4 3 kvar s R -
02800006 2.4 3 kVA s R -
02800007 3.1 2 degC s R -
02800008 2.2 2 V u R -
02800009 2.2 2 V u R -
0280000A 8.0 4 min u R -
0280000B 4.4 4 CNY/kWh u R -
02800020 4.4 4 CNY/kWh u R -
02800021 4.4 4 CNY/kWh u R -
02800022 4.0 2 min u R -
02800023 2.0 1 min u R -
04000101 YYMMDDWW 4 - - RW 1-0:0.9.2
04000102 hhmmss 3 - - RW 1-0:0.9.1
0400010C YYMMDDWWhhmmss 7 - - RW -
04000103 2.0 1 min u RW -
04000104 2.0 1 min u RW -
04000105 4.0 2 ms u RW -
04000106 YYMMDDhhmm 5 - - RW -
04000107 YYMMDDhhmm 5 - - RW -
04000108 YYMMDDhhmm 5 - - RW -
04000109 YYMMDDhhmm 5 - - RW -
04000201 2.0 1 - u RW -
04000202 2.0 1 - u RW -
04000203 2.0 1 - u RW -
04000204 2.0 1 - u RW -
04000205 4.0 2 - u RW -
04000206 2.0 1 - u RW -
04000207 2.0 1 - u RW -
04000301 2.0 1 - u RW -
04000302 2.0 1 s u RW -
04000303 2.0 1 - u RW -
04000304 2.0 1 - u RW -
04000305 2.0 1 - u RW -
04000306 6.0 3 - u RW -
04000307 6.0 3 - u RW -
04000401 12.0 6 - u RW 0-0:96.1.0
04000402 12.0 6 - u RW 0-0:96.1.1
04000403 ASCII 32 - - RW -
04000404 ASCII 6 - - R -
04000405 ASCII 6 - - R -
04000406 ASCII 6 - - R -
04000407 ASCII 4 - - R -
04000408 ASCII 4 - - R -
04000409 6.0 3 imp/kWh u R -
0400040A 6.0 3 imp/kvarh u R -
0400040B ASCII 10 - - R -
0400040C ASCII 10 - - R -
0400040D ASCII 16 - - R -
0400040E 12.0 6 - u RW -
04000501 bits 2 - - R -
04000502 bits 2 - - R -
04000503 bits 2 - - R 0-0:96.3.10
04000504 bits 2 - - R -
04000505 bits 2 - - R -
04000506 bits 2 - - R -
04000507 bits 2 - - R -
040005FF bits 14 - - R -
04000508 bits 4 - - R -
04000601 bits 1 - - RW -
04000602 bits 1 - - RW -
04000603 bits 1 - - RW -
04000701 bits 1 - - RW -
04000702 bits 1 - - RW -
04000703 bits 1 - - RW -
04000704 bits 1 - - RW -
04000705 bits 1 - - RW -
04000801 bits 1 - - RW -
04000802 2.0 1 - u RW -
04000901 bits 1 - - RW -
04000902 bits 1 - - RW -
04000903 bits 1 - - RW -
04000904 bits 1 - - RW -
04000905 bits 1 - - RW -
04000906 bits 1 - - RW -
04000A01 MMDDhhmm 4 - - RW -
04000A02 4.0 2 min u RW -
04000A07 4.0 2 min u RW -
04000B01 DDhh 2 - - RW -
04000B02 DDhh 2 - - RW -
04000B03 DDhh 2 - - RW -
04000C01 8.0 4 - u W -
04000C0A 8.0 4 - u W -
04000D01 1.3 2 - u RW -
04000E01 2.4 3 kW u RW -
04000E02 2.4 3 kW u RW -
04000E03 3.1 2 V u RW -
04000E04 3.1 2 V u RW -
04000F01 6.2 4 kWh u RW -
04000F02 6.2 4 kWh u RW -
04000F03 6.2 4 kWh u RW -
04000F04 6.2 4 kWh u RW -
04001001 6.2 4 CNY u RW -
04001002 6.2 4 CNY u RW -
04001003 6.2 4 CNY u RW -
04001004 6.2 4 CNY u RW -
04001005 6.2 4 CNY u RW -
04001101 bits 1 - - RW -
04001104 bits 8 - - RW -
04001201 YYMMDDhhmm 5 - - RW -
04001202 2.0 1 min u RW -
04001203 hhmm 2 - - RW -
04001301 2.0 1 - u R -
04001401 4.0 2 min u RW -
04001402 3.3 3 A u RW -
04001403 4.0 2 min u RW -
04001404 2.0 1 min u RW -
04001501 bits 12 - - R -
04010000 (MMDDNN)x14 3p - - RW -
04010001 (hhmmNN)x14 3m - - RW -
04010008 (hhmmNN)x14 3m - - RW -
04020000 (MMDDNN)x14 3p - - RW -
04020001 (hhmmNN)x14 3m - - RW -
04030001 YYMMDDNN 4 - - RW -
04040101 DI+NN 4-5 - - RW -
04040201 DI+NN 4-5 - - RW -
04050101 4.4 4 CNY/kWh u R -
04050102 4.4 4 CNY/kWh u R -
040501FF 4.4 4k CNY/kWh u R -
04050201 4.4 4 CNY/kWh u RW -
040502FF 4.4 4k CNY/kWh u RW -
04060001 6.2 4 kWh u RW -
04060101 4.4 4 CNY/kWh u RW -
04060201 6.2 4 kWh u RW -
04060301 4.4 4 CNY/kWh u RW -
040604FF mixed var - - R -
040605FF mixed var - - RW -
04800001 ASCII 32 - - R -
04800002 ASCII 32 - - R -
04800003 ASCII 32 - - R -
04800004 bytes 8 - - R -
03010000 (NNNNNN,NNNNNN)x3 18 times,min - R -
03010101 record var - - R -
03020000 (NNNNNN,NNNNNN)x3 18 times,min - R -
03020101 record var - - R -
03030000 (NNNNNN,NNNNNN)x3 18 times,min - R -
03030101 record var - - R -
03040000 (NNNNNN,NNNNNN)x3 18 times,min - R -
03040101 record var - - R -
030B0000 (NNNNNN,NNNNNN)x3 18 times,min - R -
030B0101 record var - - R -
030C0000 (NNNNNN,NNNNNN)x3 18 times,min - R -
030C0101 record var - - R -
030D0000 (NNNNNN,NNNNNN)x3 18 times,min - R -
030D0101 record var - - R -
030E0000 (NNNNNN,NNNNNN)x3 18 times,min - R -
030E0101 record var - - R -
030F0000 (NNNNNN,NNNNNN)x3 18 times,min - R -
030F0101 record var - - R -
03050000 NNNNNN,NNNNNN 6 - u R -
03060000 NNNNNN,NNNNNN 6 - u R -
03070000 NNNNNN,NNNNNN 6 - u R -
03080000 NNNNNN,NNNNNN 6 - u R -
03090000 NNNNNN,NNNNNN 6 - u R -
030A0000 NNNNNN,NNNNNN 6 - u R -
03100000 record var - - R -
03110000 6.0 3 times u R 0-0:96.7.21
03110001 2xYYMMDDhhmmss 12 - - R -
03120000 6xNNNNNN 18 - - R -
03300000 6.0 3 times u R -
03300001 record 50 - - R -
03300100 6.0 3 times u R -
03300101 record 106 - - R -
03300200 6.0 3 times u R -
03300300 6.0 3 times u R -
03300400 6.0 3 times u R -
03300401 record 16 - - R -
03300500 6.0 3 times u R -
03300600 6.0 3 times u R -
03300700 6.0 3 times u R -
03300800 6.0 3 times u R -
03300C00 6.0 3 times u R -
03300D00 6.0 3 times u R 0-0:96.20.0
03300D01 record 60 - - R -
03300E00 6.0 3 times u R -
03320101 YYMMDDhhmm 5 - - R -
03320201 4.0 2 times u R -
03320301 6.2 4 kWh u R -
03320401 6.2 4 kWh u R -
03320501 6.2 4 kWh u R -
03320601 6.2 4 kWh u R -
03330101 YYMMDDhhmm 5 - - R -
03330201 4.0 2 times u R -
03330301 6.2 4 CNY u R -
03330401 6.2 4 CNY u R -
03330501 6.2 4 CNY u R -
03330601 6.2 4 CNY u R -
0333FF01 mixed 23 - - R -
1D000001 6.0 3 times u R -
1D000101 YYMMDDhhmmss 6 - - R -
1E000001 6.0 3 times u R -
1E000101 YYMMDDhhmmss 6 - - R -
05000001 YYMMDDhhmm 5 - - R -
05000101 6.2 4(1+k) kWh u R -
05010001 YYMMDDhhmm 5 - - R -
0501FF01 mixed var - - R -
05020001 YYMMDDhhmm 5 - - R -
05030001 YYMMDDhhmm 5 - - R -
05040001 YYMMDDhhmm 5 - - R -
05040101 6.2 4 kWh u R -
0504FF01 5+4+4 13 - - R -
05060001 YYMMDDhhmm 5 - - R -
05060101 6.2 4(1+k) kWh u R -
05060201 6.2 4(1+k) kWh u R -
05061001 8xNN.NNNN 24 - - R -
0506FF01 mixed var - - R -
0507FF01 mixed var - - R -
06000001 record var - - R -
06010001 record var - - R -
06020001 record var - - R -
06030001 record var - - R -
06040001 record var - - R -
06050001 record var - - R -
06060001 record var - - R -
"""

# Bytes of event records, by kind: as two or more independent sources build them or take them apart.
EVENT_SIZES = {
    131: "03010101 0301030A 03020201 03030301 0304010A",
    115: "030B0101 030C0201 030D030A",
    76: "03070001 0308000A 030E0101 030F030A",
    78: "03090001 030A000A",
    15: "03050001",
    12: "03060001 0311000A",
    27: "03100000 0310030C",
    20: "03120101 0312060A",
    50: "03300001 0330000A",
    106: "03300101",
    202: "03300201",
    14: "03300301",
    16: "03300401 03300C01",
    94: "03300601",
    11: "03300701 03300901 03300A01 03300B0A",
    60: "03300D01 03300E0A",
    23: "0332FF01 0333FF0A",
    195: "1001FF01 1102FF01 1203FF0A 1301FF01",
    179: "1801FF01 1902FF01 1A03FF0A",
    140: "1400FF01 1500FF0A 1B01FF01 1C03FF01",
    143: "1600FF01 1700FF0A",
    34: "1D00FF01 1E00FF0A",
    44: "1F00FF01",
}
# Known by name; how long they are the sources do not agree, or it depends on the meter.
WITHOUT_LAYOUT = (
    "03300501 03300801 040604FF 040605FF 0500FF01 0504FF01 0506FF3E 0507FF02 "
    "06000000 06000001 06000002 06010001 06060002"
).split()

# Edition 1997: identifier, format, bytes, unit, sign, access, OBIS (F of last month is 1).
ROWS_1997 = """
9010 6.2 4 kWh u R 1-0:1.8.0
9011 6.2 4 kWh u R 1-0:1.8.1
901E 6.2 4 kWh u R 1-0:1.8.14
9410 6.2 4 kWh u R 1-0:1.8.0*1
9812 6.2 4 kWh u R 1-0:1.8.2*2
9020 6.2 4 kWh u R 1-0:2.8.0
9000 6.2 4 kWh u R -
9110 6.2 4 kvarh u R 1-0:3.8.0
9120 6.2 4 kvarh u R 1-0:4.8.0
9130 6.2 4 kvarh u R -
9164 6.2 4 kvarh u R -
A010 2.4 3 kW u R 1-0:1.6.0
A020 2.4 3 kW u R 1-0:2.6.0
A111 2.4 3 kvar u R 1-0:3.6.1
A520 2.4 3 kvar u R 1-0:4.6.0*1
B010 MMDDhhmm 4 - - R -
B924 MMDDhhmm 4 - - R -
B210 MMDDhhmm 4 - - R -
B212 4.0 2 times u R -
B214 6.0 3 min u R -
B310 4.0 2 times u R -
B323 6.0 3 min u R -
B331 MMDDhhmm 4 - - R -
B340 MMDDhhmm 4 - - R -
B611 4.0 2 V u R 1-0:32.7.0
B613 4.0 2 V u R 1-0:72.7.0
B622 2.2 2 A u R 1-0:51.7.0
B630 2.4 3 kW u R 1-0:16.7.0
B633 2.4 3 kW u R 1-0:76.7.0
B641 2.2 2 kvar u R 1-0:151.7.0
B650 1.3 2 - u R 1-0:13.7.0
C010 YYMMDDWW 4 - - RW 1-0:0.9.2
C011 hhmmss 3 - - RW 1-0:0.9.1
C020 bits 1 - - R -
C021 bits 1 - - R -
C022 bits 1 - - RW -
C030 6.0 3 imp/kWh u R -
C031 6.0 3 imp/kvarh u R -
C032 12.0 6 - u R 0-0:96.1.1
C033 12.0 6 - u R -
C034 12.0 6 - u R -
C111 2.0 1 min u RW -
C112 2.0 1 min u RW -
C117 DDhh 2 - - RW -
C211 4.0 2 ms u RW -
C212 8.0 4 - u W -
C310 2.0 1 - u RW -
C313 2.0 1 - u RW -
C321 MMDDNN 3 - - RW -
C32E MMDDNN 3 - - RW -
C331 hhmmNN 3 - - RW -
C34E hhmmNN 3 - - RW -
C510 MMDDhhmm 4 - - RW -
C511 4.0 2 min u RW -
9140 6.2 4 kvarh u R -
9154 6.2 4 kvarh u R -
B020 MMDDhhmm 4 - - R -
B114 MMDDhhmm 4 - - R -
B211 MMDDhhmm 4 - - R -
B213 4.0 2 times u R -
C311 2.0 1 - u RW -
C312 2.0 1 - u RW -
C314 2.0 1 - u RW -
"""

# What follows from a pattern, or from public notes on freezes and on the amended events.
ROWS_BY_PATTERN = """
01160000 2.4+YYMMDDhhmm 8 kW u R 1-0:22.6.0
01170001 2.4+YYMMDDhhmm 8 kvar s R 1-0:23.6.0
01180000 2.4+YYMMDDhhmm 8 kvar s R 1-0:24.6.0
012D0000 2.4+YYMMDDhhmm 8 kvar u R 1-0:45.6.0
012E0000 2.4+YYMMDDhhmm 8 kvar u R 1-0:46.6.0
012F000C 2.4+YYMMDDhhmm 8 kvar u R 1-0:47.6.0
01440000 2.4+YYMMDDhhmm 8 kvar u R 1-0:68.6.0
01450000 2.4+YYMMDDhhmm 8 kVA u R 1-0:69.6.0
01460000 2.4+YYMMDDhhmm 8 kVA u R 1-0:70.6.0
03300900 6.0 3 times u R -
05040201 6.2 4 kWh u R -
05060301 6.2 4(1+k) kvarh s R -
05060401 6.2 4(1+k) kvarh s R -
05060501 6.2 4(1+k) kvarh u R -
05000801 6.2 4(1+k) kvarh u R -
05060901 2.4+YYMMDDhhmm 8(1+k) kW u R -
05060A01 2.4+YYMMDDhhmm 8(1+k) kW u R -
1D000201 8.0 4 - u R -
1E00020A 8.0 4 - u R -
1D000301 6.2 4 kWh u R -
1E000401 6.2 4 kWh u R -
1D000501 6.2 4 kvarh u R -
1E00080A 6.2 4 kvarh u R -
"""
