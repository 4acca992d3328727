"""How values lead from variables to the loss, and gradients back."""
