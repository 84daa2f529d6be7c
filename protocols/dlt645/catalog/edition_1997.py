"""Edition 1997: two-byte identifiers, read side. F in the low digit of the last byte is the block.

Periods of energies and demands: now, last month, the month before. Which quadrant 913x to 916x
stand for differs from text to text, so they have no OBIS here. At least three public lists call
2007 identifiers 1997; nothing here rests on them.
"""

IDENTIFIERS = """
90/94/98.10-1E* R 6c c NNNNNN.NN:kWh 1-0:1.8.{T0}*{F1} forward active energy{t0}{f1}
90/94/98.20-2E* R 6c c NNNNNN.NN:kWh 1-0:2.8.{T0}*{F1} reverse active energy{t0}{f1}
90.00 R 1c c NNNNNN.NN:kWh - active energy as this meter combines it
91/95/99.10-1E* R 6c c NNNNNN.NN:kvarh 1-0:3.8.{T0}*{F1} forward reactive energy{t0}{f1}
91/95/99.20-2E* R 6 c NNNNNN.NN:kvarh 1-0:4.8.{T0}*{F1} reverse reactive energy{t0}{f1}
91/95/99.30-3E* R 2 c NNNNNN.NN:kvarh - reactive energy of quadrant code 3{t0}{f1}
91/95/99.40-4E* R 2 c NNNNNN.NN:kvarh - reactive energy of quadrant code 4{t0}{f1}
91/95/99.50-5E* R 2 c NNNNNN.NN:kvarh - reactive energy of quadrant code 5{t0}{f1}
91/95/99.60-6E* R 2 c NNNNNN.NN:kvarh - reactive energy of quadrant code 6{t0}{f1}
A0/A4/A8.10-1E* R 6 x NN.NNNN:kW 1-0:1.6.{T0}*{F1} maximum forward active demand{t0}{f1}
A0/A4/A8.20-2E* R 6 x NN.NNNN:kW 1-0:2.6.{T0}*{F1} maximum reverse active demand{t0}{f1}
A1/A5/A9.10-1E* R 6 x NN.NNNN:kvar 1-0:3.6.{T0}*{F1} maximum forward reactive demand{t0}{f1}
A1/A5/A9.20-2E* R 6 x NN.NNNN:kvar 1-0:4.6.{T0}*{F1} maximum reverse reactive demand{t0}{f1}
B0/B4/B8.10-1E* R 4 - MMDDhhmm - time of maximum forward active demand{t0}{f1}
B0/B4/B8.20-2E* R 4 - MMDDhhmm - time of maximum reverse active demand{t0}{f1}
B1/B5/B9.10-1E* R 4 - MMDDhhmm - time of maximum forward reactive demand{t0}{f1}
B1/B5/B9.20-2E* R 4 - MMDDhhmm - time of maximum reverse reactive demand{t0}{f1}
B2.10 R 4 - MMDDhhmm - last programming
B2.11 R 4 - MMDDhhmm - last demand clear
B2.12 R 4 c NNNN - programming count
B2.13 R 4 c NNNN - demand clear count
B2.14 R 4 c NNNNNN:min - battery working time
B3.10-13* R 4 c NNNN - phase break count{p0}
B3.20-23* R 4 c NNNNNN:min - phase break time{p0}
B3.30-33* R 4 - MMDDhhmm - start of the last phase break{p0}
B3.40-43* R 4 - MMDDhhmm - end of the last phase break{p0}
B6.11-13* R 5c i NNNN:V 1-0:{p0+12}.7.0 voltage{p0}
B6.21-23* R 5 i NN.NN:A 1-0:{p0+11}.7.0 current{p0}
B6.30-33* R 5 i NN.NNNN:kW 1-0:{p0+16}.7.0 active power{p0}
B6.40-43* R 5 i NN.NN:kvar 1-0:{p0+131}.7.0 reactive power{p0}
B6.50-53* R 5 i N.NNN 1-0:{p0+13}.7.0 power factor{p0}
C0.10 RW 4c - YYMMDDWW 1-0:0.9.2 date and weekday
C0.11 RW 4c - hhmmss 1-0:0.9.1 time
C0.20 R 4 - BITS1 - meter status word
C0.21 R 4 - BITS1 - grid status word
C0.22 RW 4 - BITS1 - weekend word
C0.30 R 4 i NNNNNN:imp/kWh - active constant
C0.31 R 4 i NNNNNN:imp/kvarh - reactive constant
C0.32 R 4 - DIGITS6 0-0:96.1.1 meter number
C0.33 R 4 - DIGITS6 - user number
C0.34 R 4 - DIGITS6 - device number
C1.11 RW 4 i NN:min - demand period
C1.12 RW 4 i NN:min - sliding time of the demand
C1.17 RW 3 - DDhh - settlement day
C2.11 RW 3 i NNNN:ms - pulse width
C2.12 W 3 - SECRET4 - password
C3.10 RW 3 i NN - number of year zones
C3.11 RW 3 i NN - number of day period tables
C3.12 RW 3 i NN - number of day periods
C3.13 RW 3 i NN - number of tariffs
C3.14 RW 3 i NN - number of public holidays
C3.21-2E RW 3 - MMDDNN - year zone {n0-32} (start, day table)
C3.31-3E RW 3 - hhmmNN - day period {n0-48} of table 1 (start, tariff)
C3.41-4E RW 3 - hhmmNN - day period {n0-64} of table 2 (start, tariff)
C5.10 RW 3 - MMDDhhmm - load record start
C5.11 RW 3 i NNNN:min - load record interval
"""
