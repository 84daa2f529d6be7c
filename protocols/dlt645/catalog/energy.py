"""Class 00, energies, and class 01, maximum demands: item, tariff, settlement.

A tariff's meaning (sharp, peak, flat, valley by custom) comes from the meter's own day tables. The
OBIS of combined energies holds under the usual combination words (04000601..03): 0000 net, 0003
quadrants 1 + 2, 0004 quadrants 3 + 4.
"""

ENERGY = """
00.00.00-3F*.00-0C+ R 11c c sNNNNNN.NN:kWh 1-0:16.8.{T1}*{F0} combined active energy{t1}{f0}
00.01.00-3F*.00-0C+ R 9c c NNNNNN.NN:kWh 1-0:1.8.{T1}*{F0} forward active energy{t1}{f0}
00.02.00-3F*.00-0C+ R 8c c NNNNNN.NN:kWh 1-0:2.8.{T1}*{F0} reverse active energy{t1}{f0}
00.03.00-3F*.00-0C+ R 6c c sNNNNNN.NN:kvarh 1-0:3.8.{T1}*{F0} combined reactive energy 1{t1}{f0}
00.04.00-3F*.00-0C+ R 5c c sNNNNNN.NN:kvarh 1-0:4.8.{T1}*{F0} combined reactive energy 2{t1}{f0}
00.05.00-3F*.00-0C+ R 5 c NNNNNN.NN:kvarh 1-0:5.8.{T1}*{F0} reactive energy quadrant 1{t1}{f0}
00.06.00-3F*.00-0C+ R 5 c NNNNNN.NN:kvarh 1-0:6.8.{T1}*{F0} reactive energy quadrant 2{t1}{f0}
00.07.00-3F*.00-0C+ R 4 c NNNNNN.NN:kvarh 1-0:7.8.{T1}*{F0} reactive energy quadrant 3{t1}{f0}
00.08.00-3F*.00-0C+ R 5 c NNNNNN.NN:kvarh 1-0:8.8.{T1}*{F0} reactive energy quadrant 4{t1}{f0}
00.09.00-3F*.00-0C+ R 3 c NNNNNN.NN:kVAh 1-0:9.8.{T1}*{F0} forward apparent energy{t1}{f0}
00.0A.00-3F*.00-0C+ R 3 c NNNNNN.NN:kVAh 1-0:10.8.{T1}*{F0} reverse apparent energy{t1}{f0}
00.15/29/3D.00.00-0C+ R 4 c NNNNNN.NN:kWh 1-0:{p2+1}.8.0*{F0} forward active energy{p2}{f0}
00.16/2A/3E.00.00-0C+ R 4 c NNNNNN.NN:kWh 1-0:{p2+2}.8.0*{F0} reverse active energy{p2}{f0}
00.17/2B/3F.00.00-0C+ R 3 c sNNNNNN.NN:kvarh 1-0:{p2+3}.8.0*{F0} combined reactive energy 1{p2}{f0}
00.18/2C/40.00.00-0C+ R 3 c sNNNNNN.NN:kvarh 1-0:{p2+4}.8.0*{F0} combined reactive energy 2{p2}{f0}
00.19/2D/41.00.00-0C+ R 2 c NNNNNN.NN:kvarh 1-0:{p2+5}.8.0*{F0} reactive energy quadrant 1{p2}{f0}
00.1A/2E/42.00.00-0C+ R 2 c NNNNNN.NN:kvarh 1-0:{p2+6}.8.0*{F0} reactive energy quadrant 2{p2}{f0}
00.1B/2F/43.00.00-0C+ R 2 c NNNNNN.NN:kvarh 1-0:{p2+7}.8.0*{F0} reactive energy quadrant 3{p2}{f0}
00.1C/30/44.00.00-0C+ R 2c c NNNNNN.NN:kvarh 1-0:{p2+8}.8.0*{F0} reactive energy quadrant 4{p2}{f0}
00.1D/31/45.00.00-0C+ R 2 c NNNNNN.NN:kVAh 1-0:{p2+9}.8.0*{F0} forward apparent energy{p2}{f0}
00.1E/32/46.00.00-0C+ R 2 c NNNNNN.NN:kVAh 1-0:{p2+10}.8.0*{F0} reverse apparent energy{p2}{f0}
00.80.00.00-0C+ R 4 c sNNNNNN.NN:kWh - associated total energy{f0}
00.81.00.00-0C+ R 1 c NNNNNN.NN:kWh - forward active fundamental energy{f0}
00.82.00.00-0C+ R 1 c NNNNNN.NN:kWh - reverse active fundamental energy{f0}
00.83.00.00-0C+ R 1 c NNNNNN.NN:kWh - forward active harmonic energy{f0}
00.84.00.00-0C+ R 1 c NNNNNN.NN:kWh - reverse active harmonic energy{f0}
00.85.00.00-0C+ R 2 c sNNNNNN.NN:kWh - copper loss compensation energy{f0}
00.86.00.00-0C+ R 2 c NNNNNN.NN:kWh - iron loss compensation energy{f0}
00.90.01.00 R 5 i NNNNNN.NN:kWh - remaining energy
00.90.01.01 R 4 i NNNNNN.NN:kWh - overdraft energy
00.90.02.00 R 5c i NNNNNN.NN:CNY - remaining money
00.90.02.01 R 4 i NNNNNN.NN:CNY - overdraft money
"""

DEMAND = """
01.01.00-3F*.00-0C+ R 4 x @demand 1-0:1.6.{T1}*{F0} maximum forward active demand{t1}{f0}
01.02.00-3F*.00-0C+ R 3 x @demand 1-0:2.6.{T1}*{F0} maximum reverse active demand{t1}{f0}
01.03.00-3F*.00-0C+ R 2 x @net_demand 1-0:3.6.{T1}*{F0} maximum combined reactive demand 1{t1}{f0}
01.04.00-3F*.00-0C+ R 2 x @net_demand 1-0:4.6.{T1}*{F0} maximum combined reactive demand 2{t1}{f0}
01.05.00-3F*.00-0C+ R 3 x @var_demand 1-0:5.6.{T1}*{F0} maximum demand quadrant 1{t1}{f0}
01.06.00-3F*.00-0C+ R 3 x @var_demand 1-0:6.6.{T1}*{F0} maximum demand quadrant 2{t1}{f0}
01.07.00-3F*.00-0C+ R 2 x @var_demand 1-0:7.6.{T1}*{F0} maximum demand quadrant 3{t1}{f0}
01.08.00-3F*.00-0C+ R 2 x @var_demand 1-0:8.6.{T1}*{F0} maximum demand quadrant 4{t1}{f0}
01.09.00-3F*.00-0C+ R 1 x @va_demand 1-0:9.6.{T1}*{F0} maximum forward apparent demand{t1}{f0}
01.0A.00-3F*.00-0C+ R 1 x @va_demand 1-0:10.6.{T1}*{F0} maximum reverse apparent demand{t1}{f0}
01.15/29/3D.00.00-0C+ R 1 x @demand 1-0:{p2+1}.6.0*{F0} maximum forward active demand{p2}{f0}
01.16/2A/3E.00.00-0C+ R 0 x @demand 1-0:{p2+2}.6.0*{F0} maximum reverse active demand{p2}{f0}
01.17/2B/3F.00.00-0C+ R 0 x @net_demand 1-0:{p2+3}.6.0*{F0} maximum combined reactive 1{p2}{f0}
01.18/2C/40.00.00-0C+ R 0 x @net_demand 1-0:{p2+4}.6.0*{F0} maximum combined reactive 2{p2}{f0}
01.19/2D/41.00.00-0C+ R 0 x @var_demand 1-0:{p2+5}.6.0*{F0} maximum demand quadrant 1{p2}{f0}
01.1A/2E/42.00.00-0C+ R 0 x @var_demand 1-0:{p2+6}.6.0*{F0} maximum demand quadrant 2{p2}{f0}
01.1B/2F/43.00.00-0C+ R 0 x @var_demand 1-0:{p2+7}.6.0*{F0} maximum demand quadrant 3{p2}{f0}
01.1C/30/44.00.00-0C+ R 0 x @var_demand 1-0:{p2+8}.6.0*{F0} maximum demand quadrant 4{p2}{f0}
01.1D/31/45.00.00-0C+ R 0 x @va_demand 1-0:{p2+9}.6.0*{F0} maximum forward apparent{p2}{f0}
01.1E/32/46.00.00-0C+ R 0 x @va_demand 1-0:{p2+10}.6.0*{F0} maximum reverse apparent{p2}{f0}
"""

LAYOUTS = {
    "demand": "NN.NNNN:kW,time of occurrence=YYMMDDhhmm",
    "net_demand": "sNN.NNNN:kvar,time of occurrence=YYMMDDhhmm",
    "var_demand": "NN.NNNN:kvar,time of occurrence=YYMMDDhhmm",
    "va_demand": "NN.NNNN:kVA,time of occurrence=YYMMDDhhmm",
}
