"""What training needs of the network: the loss and checkpointed gradients."""
