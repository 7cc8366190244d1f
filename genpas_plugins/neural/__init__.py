"""Code that needs torch but no framework: TIGER, DR4SR, BASRec and shared layers."""
