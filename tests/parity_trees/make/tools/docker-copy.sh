# Sorts programs by architecture.
