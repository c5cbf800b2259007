"""What is optimised: one class per objective, and the losses as plain functions."""
