"""How good a trained generator is: distances, classifiers, and what ``engine train evaluate`` prints."""
