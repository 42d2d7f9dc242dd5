/* sqlbatch
into = "furniture_captions"
model = "gpt-6-luna"
image = ["image"]
image_detail = "low"
returns = "caption VARCHAR COMMENT 'one line for a shop window', keywords VARCHAR[]"
prompt = """
Write a caption for the piece of furniture in the picture: {{ title }}, made of {{ material }} in {{ colour }}, at
{{ price }} euros. Do not name the price.
"""
*/
SELECT item_id, title, material, colour, price, image
FROM 'data/furniture.csv'
ORDER BY item_id
