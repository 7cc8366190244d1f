"""Everything framework-neutral that needs torch: TIGER, DR4SR, BASRec, and layers that models share."""
