"""The one declaration of every setting."""
