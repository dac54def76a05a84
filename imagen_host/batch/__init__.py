"""How are thousands of pictures drawn from one workflow and a file of rows, by whoever is there to draw them?"""
