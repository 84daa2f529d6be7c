"""Class 02: what the meter shows now. Class 04: its parameters, clock, status words and tables."""

VARIABLES = """
02.01.01-03+.00 R 9c i NNN.N:V 1-0:{p1+12}.7.0 voltage{p1}
02.02.01-03+.00 R 9c i sNNN.NNN:A 1-0:{p1+11}.7.0 current{p1}
02.03.00-03+.00 R 8c i sNN.NNNN:kW 1-0:{p1+16}.7.0 active power{p1}
02.04.00-03+.00 R 7c i sNN.NNNN:kvar 1-0:{p1+131}.7.0 reactive power{p1}
02.05.00-03+.00 R 6c i sNN.NNNN:kVA 1-0:{p1+9}.7.0 apparent power{p1}
02.06.00-03+.00 R 8c i sN.NNN 1-0:{p1+13}.7.0 power factor{p1}
02.07.01-03+.00 R 2 i NNN.N:deg - angle between voltage and current{p1}
02.08.01-03+.00 R 2 i NN.NN:% - voltage distortion{p1}
02.09.01-03+.00 R 2 i NN.NN:% - current distortion{p1}
02.0A.01-03.01-15* R 2 i NN.NN:% - voltage harmonic {n0}{p1}
02.0B.01-03.01-15* R 2 i NN.NN:% - current harmonic {n0}{p1}
02.80.00.01 R 4 i sNNN.NNN:A 1-0:91.7.0 neutral current
02.80.00.02 R 9c i NN.NN:Hz 1-0:14.7.0 frequency
02.80.00.03 R 2 i sNN.NNNN:kW - average active power of one minute
02.80.00.04 R 2 i sNN.NNNN:kW 1-0:1.4.0 present active demand
02.80.00.05 R 2 i sNN.NNNN:kvar - present reactive demand
02.80.00.06 R 2 i sNN.NNNN:kVA - present apparent demand
02.80.00.07 R 3 i sNNN.N:degC - temperature inside the meter
02.80.00.08 R 2 i NN.NN:V - clock battery voltage
02.80.00.09 R 2 i NN.NN:V - outage reading battery voltage
02.80.00.0A R 3 c NNNNNNNN:min - battery working time
02.80.00.0B R 2 i NNNN.NNNN:CNY/kWh - step price now
02.80.00.20 R 3 i NNNN.NNNN:CNY/kWh - price now
02.80.00.21 R 2 i NNNN.NNNN:CNY/kWh - rate price now
02.80.00.22 R 1 i NNNN:min - remaining validity of the identity authentication
02.80.00.23 R 1 i NN:min - remaining validity of the infrared authentication
"""

PARAMETERS = """
04.00.01.01 RW 8c - YYMMDDWW 1-0:0.9.2 date and weekday
04.00.01.02 RW 7c - hhmmss 1-0:0.9.1 time
04.00.01.03 RW 3 i NN:min - demand period
04.00.01.04 RW 4 i NN:min - sliding time of the demand
04.00.01.05 RW 1 i NNNN:ms - calibration pulse width
04.00.01.06 RW 1 - YYMMDDhhmm - switch time of the year zone tables
04.00.01.07 RW 1 - YYMMDDhhmm - switch time of the day period tables
04.00.01.08 RW 1 - YYMMDDhhmm - switch time of the rate prices
04.00.01.09 RW 1 - YYMMDDhhmm - switch time of the steps
04.00.01.0C RW 2 - YYMMDDWWhhmmss 0-0:1.0.0 clock
04.00.02.01 RW 3 i NN - number of year zones
04.00.02.02 RW 3 i NN - number of day period tables
04.00.02.03 RW 3 i NN - number of day periods
04.00.02.04 RW 2 i NN - number of tariffs
04.00.02.05 RW 2 i NNNN - number of public holidays
04.00.02.06 RW 1 i NN - number of harmonics
04.00.02.07 RW 1 i NN - number of steps
04.00.03.01 RW 1 i NN - screens shown in turn
04.00.03.02 RW 1 i NN:s - time of one screen
04.00.03.03 RW 1 i NN - decimals of energies shown
04.00.03.04 RW 1 i NN - decimals of powers shown
04.00.03.05 RW 1 i NN - screens shown by key
04.00.03.06 RW 4 i NNNNNN - current transformer ratio
04.00.03.07 RW 3 i NNNNNN - voltage transformer ratio
04.00.04.01 RW 7 - DIGITS6 0-0:96.1.0 communication address
04.00.04.02 RW 2c - DIGITS6 0-0:96.1.1 meter number
04.00.04.03 RW 3 - ASCII32 - asset code
04.00.04.04 R 2 - ASCII6 - rated voltage
04.00.04.05 R 2 - ASCII6 - rated current
04.00.04.06 R 2 - ASCII6 - maximum current
04.00.04.07 R 2 - ASCII4 - active accuracy class
04.00.04.08 R 2 - ASCII4 - reactive accuracy class
04.00.04.09 R 4 i NNNNNN:imp/kWh - active constant
04.00.04.0A R 4 i NNNNNN:imp/kvarh - reactive constant
04.00.04.0B R 2 - ASCII10 - meter model
04.00.04.0C R 2 - ASCII10 - production date
04.00.04.0D R 2 - ASCII16 - protocol version
04.00.04.0E RW 1 - DIGITS6 - customer number
04.00.05.03 R 7c - BITS2 0-0:96.3.10 status word 3
04.00.05.01-07~ R 4 - BITS2 - status word {n0}
04.00.05.08 R 1 - BITS4 - key status word
04.00.06.01 RW 3 - BITS1 - active combination word
04.00.06.02-03 RW 3 - BITS1 - reactive combination word {n0-1}
04.00.07.01 RW 1 - BITS1 - rate word of the modulated infrared port
04.00.07.02 RW 1 - BITS1 - rate word of the contact infrared port
04.00.07.03-05 RW 2 - BITS1 - rate word of line port {n0-2}
04.00.08.01 RW 3 - BITS1 - weekend word
04.00.08.02 RW 1 i NN - day period table of weekends
04.00.09.01 RW 3 - BITS1 - load record mode word
04.00.09.02 RW 3 - BITS1 - timed freeze mode word
04.00.09.03 RW 1 - BITS1 - instant freeze mode word
04.00.09.04 RW 1 - BITS1 - switch freeze mode word
04.00.09.05 RW 1 - BITS1 - hourly freeze mode word
04.00.09.06 RW 1 - BITS1 - daily freeze mode word
04.00.0A.01 RW 1 - MMDDhhmm - load record start
04.00.0A.02-07 RW 1 i NNNN:min - load record interval, class {n0-1}
04.00.0B.01-03 RW 3 - DDhh - settlement day {n0}
04.00.0C.01-0A W 2 - SECRET4 - password of level {n0-1}
04.00.0D.01-0C RW 1 i N.NNN - phase coefficient {n0} (G, B, R, X of A, B, C)
04.00.0E.01 RW 1 i NN.NNNN:kW - forward power limit
04.00.0E.02 RW 1 i NN.NNNN:kW - reverse power limit
04.00.0E.03 RW 1 i NNN.N:V - upper voltage limit
04.00.0E.04 RW 1 i NNN.N:V - lower voltage limit
04.00.0F.01-02 RW 2 i NNNNNN.NN:kWh - alarm energy {n0}
04.00.0F.03 RW 0 i NNNNNN.NN:kWh - hoarding energy limit
04.00.0F.04 RW 2 i NNNNNN.NN:kWh - overdraft energy limit
04.00.10.01-02 RW 2 i NNNNNN.NN:CNY - alarm money {n0}
04.00.10.03 RW 2 i NNNNNN.NN:CNY - overdraft money limit
04.00.10.04 RW 2 i NNNNNN.NN:CNY - hoarding money limit
04.00.10.05 RW 1 i NNNNNN.NN:CNY - money limit of the permit to close
04.00.11.01 RW 2 - BITS1 - meter run feature word
04.00.11.04 RW 2 - BITS8 - active report mode word
04.00.12.01 RW 1 - YYMMDDhhmm - hourly freeze start
04.00.12.02 RW 1 i NN:min - hourly freeze interval
04.00.12.03 RW 1 - hhmm - daily freeze time
04.00.13.01 R 0 i NN - radio signal strength
04.00.14.01 RW 1 i NNNN:min - delay of an opening
04.00.14.02 RW 1 i NNN.NNN:A - safe opening current
04.00.14.03 RW 1 i NNNN:min - longest wait for the safe opening current
04.00.14.04 RW 1 i NN:min - validity of the infrared authentication
04.00.15.01 R 2 - BITS12 - active report status word
04.01.00.00 RW 3 - MMDDNN* - table set 1: year zones (start, day table)
04.01.00.01-08 RW 3 - hhmmNN* - table set 1: day periods of table {n0} (start, tariff)
04.02.00.00 RW 2 - MMDDNN* - table set 2: year zones (start, day table)
04.02.00.01-08 RW 2 - hhmmNN* - table set 2: day periods of table {n0} (start, tariff)
04.03.00.01-FE RW 1 - YYMMDDNN - public holiday {n0} (day, day table)
04.04.01.01-FE RW 1 - identifier=DI,part=DIGITS1 - item {n0} shown in turn
04.04.02.01-FE RW 1 - identifier=DI,part=DIGITS1 - item {n0} shown by key
04.05.01.01-3F* R 1 i NNNN.NNNN:CNY/kWh - price in force, tariff {n0}
04.05.02.01-3F* RW 1 i NNNN.NNNN:CNY/kWh - spare price, tariff {n0}
04.06.00.01-3F* RW 1 i NNNNNN.NN:kWh - step value {n0}
04.06.01.01-3F* RW 1 i NNNN.NNNN:CNY/kWh - step price {n0}
04.06.02.01-3F* RW 0 i NNNNNN.NN:kWh - spare step value {n0}
04.06.03.01-3F* RW 0 i NNNN.NNNN:CNY/kWh - spare step price {n0}
04.06.04.FF R 1 - ? - step table in force
04.06.05.FF RW 1 - ? - spare step table
04.80.00.01 R 2 - ASCII32 - software version
04.80.00.02 R 2 - ASCII32 - hardware version
04.80.00.03 R 2 - ASCII32 - manufacturer number
04.80.00.04 R 1 - HEX8 - software filing number
"""
