"""Are prompts for DeepFloyd IF cleaned as diffusers' `clean_caption=True` cleans them?"""

from __future__ import annotations

import sys

import pytest
import torch
from diffusers import IFPipeline
from t5_files import make_folder

from imagen_core import encode_prompt
from imagen_core.text.captions import CLEAN, MOST_CHARACTERS, cleaned_caption, prepared
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.reading import AS_DEEPFLOYD, TextReading

ODD = (
    """
a red cube
  A Red CUBE in a  ROOM
<person> walks, &quot;R&amp;B&quot; singer
see https://example.com/cat.jpg?x=1 or www.example.co.uk/x_1 or www:/foo, ftp://x.y and http:/x
mail me@example.com or foo.com@bar, biscuit.it's
<p>a <b>bold</b> cat</p><br/> <a href='x'>link</a><img src=x> end
<script>alert(1)</script>a dog<style>b{}</style><!-- no --><template>t</template>
<ruby>kan<rt>ji</rt><rp>(</rp></ruby> <b>unclosed </i> <b><rt>x</b>y
a < b and c > d, a<3 love, 1 < 2, <>, < >
&lt;b&gt;twice&lt;/b&gt; &amp;lt; rock &amp;amp; roll
&#65;&#x42; &#128; &#0; &#xD800; &#99999999; &#; &unknown; &copy &nbsp;x & &;
@someone a dog @you_2, @@a, a@b
日本の猫 cat 猫, カタカナ and ひらがな, ㈱ ㌔ ㇰ
a—b–c‒d―e‐f — — — 〜 ー
“quoted” ‘single’ «guillemets» `tick` ´acute´ ¨
192.168.0.1 in article 1:23
line\\nbreak #12 number #12345 #1234 #123456789 1234567 in 12345
IMG_1234.JPG my.file.png x.pdf and mp4video
\"\"\"AUSVERKAUFT\"\"\" ***SALE*** ''double'' 5' 6" tall
dots.... more.. e.g. this, i.e. that. U.S.A. a . b
(a) [b] {c} |d| \\e/ *f* ~g~ #h © ® ™ • § ½ ¿
this-is-my-cute-cat
this_is_my_cute_cat one-two
one-two-three-four
schÃ¶n cafÃ© sÃ¼Ã, ﬁne Ｆｕｌｌ width １２３４５６ e\u0301 …
jc6640 cat jc6640vc 6640vc231 j2d1a2a 12ab34cd A1 B22 C333 x2y 3d render 8k uhd
worldwide free shipping, free download cat download free
click for details click on me, page 12 of a book, png image jpg images
1024x768 10х20 3×4 1.5x2
title : subtitle; a,b.c/d e, a;b:c
"a whole quote"
'a whole quote'
-lead and trail-
:lead +trail+
;x_
.hidden
a%20cat%2C+dog, 100% sure, 50%25, C++
ünïcode ÄÖ, emoji 🦊 cube 🧊, كرة حمراء, \u200bzero\u200dwidth, \u00a0nbsp
<![CDATA[data]]> <!DOCTYPE html> <?php x ?> <!foo>a <!-->a-->b
?! !!! wow !!! ~~~ ---
""".splitlines()
    + ["", "   ", "\t\r\n a\tb ", "\x00\x01 a", "x" * 500, "a" * 40 + ".png", "free download", " 1:23 "]
)


def theirs(text: str) -> str:
    return IFPipeline._text_preprocessing(Pipelined(), [text], clean_caption=True)[0]


class Pipelined:
    """What diffusers' method needs of its pipeline, without one."""

    bad_punct_regex = IFPipeline.bad_punct_regex
    _clean_caption = IFPipeline._clean_caption


def test_odd_captions_become_what_diffusers_makes_of_them():
    pytest.importorskip("bs4", reason="without BeautifulSoup and ftfy diffusers cleans nothing")
    pytest.importorskip("ftfy", reason="without BeautifulSoup and ftfy diffusers cleans nothing")
    changed = 0
    for text in ODD:
        assert cleaned_caption(text) == theirs(text), text
        changed += cleaned_caption(text) != text.lower().strip()
    assert changed > 35  # nearly all are odd


def test_what_diffusers_cannot_clean_is_cleaned():
    assert cleaned_caption("\ud83d a lone surrogate").endswith("a lone surrogate")
    assert cleaned_caption("a cat <![if no such thing]>").startswith("a cat")
    assert len(cleaned_caption("word " * 10**6)) <= MOST_CHARACTERS


def test_plain_sentences_stay():
    for text in (
        "a red sphere to the left of a blue cube",
        "two dogs, one cat and 12 birds at sunset",
        "it's a small world",
    ):
        assert cleaned_caption(text) == text


def test_without_ftfy_only_mending_is_missing(monkeypatch):
    expected = cleaned_caption("a <b>red</b> cube &amp; more: IMG_1.png")
    monkeypatch.setitem(sys.modules, "ftfy", None)
    assert cleaned_caption("a <b>red</b> cube &amp; more: IMG_1.png") == expected == "a red cube more"
    with pytest.warns(UserWarning, match="ftfy is not installed.*pip install ftfy"):
        assert cleaned_caption("schÃ¶n") == "schã¶n"


def test_auto_is_on_exactly_where_deepfloyd_reads():
    odd = " A <b>Red</b> Cube "
    cases = {
        (True, "auto"): "a red cube",
        (True, "on"): "a red cube",
        (True, "off"): "a <b>red</b> cube",
        (False, "auto"): odd,
        (False, "on"): "a red cube",
        (False, "off"): odd,
    }
    assert {case: prepared(odd, AS_DEEPFLOYD if case[0] else TextReading(), clean=case[1]) for case in cases} == cases
    assert {choice for _, choice in cases} == set(CLEAN)
    with pytest.raises(ValueError, match="clean_prompt is 'maybe'"):
        prepared("a", AS_DEEPFLOYD, clean="maybe")
    with pytest.warns(UserWarning, match="left nothing of the prompt 'free download'.*clean_prompt to off"):
        assert prepared("free download", AS_DEEPFLOYD) == ""


def test_both_texts_of_a_prompt_are_cleaned(tmp_path):
    encoder = load_text_encoder(make_folder(tmp_path))
    found = encode_prompt(encoder, "a (red) cube", "#blue", pad_to=77)
    assert torch.equal(found.text.embeds, encoder.encode(["a red cube"], pad_to=77).embeds)
    assert torch.equal(found.negative.embeds, encoder.encode(["blue"], pad_to=77).embeds)
    kept = encode_prompt(encoder, "a (red) cube", pad_to=77, clean="off")
    assert torch.equal(kept.text.embeds, encoder.encode(["a (red) cube"], pad_to=77).embeds)
    assert torch.equal(encode_prompt(encoder, "a (red) cube").text.embeds, encoder.encode(["a (red) cube"]).embeds)
