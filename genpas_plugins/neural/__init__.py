"""What needs torch and no framework: TIGER, DR4SR, BASRec and shared layers."""
