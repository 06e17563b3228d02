"""The words of the embedded world: relations with their values and phrasings, names, filler.

Promise: data only. Each phrasing holds the subject once (`{}`) and ends right before the answer.
Chinese phrasings have no space around the answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """A relation: its name, the values it can take, and its phrasings (the first is the prompt)."""

    name: str
    values: tuple[str, ...]
    phrasings: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


ONSETS = _words("b, d, f, g, h, k, l, m, n, p, r, s, t, v, z, br, dr, kr, tr, st, sk, th")
RHYMES = _words("a, e, i, o, u, al, an, ar, el, en, er, il, in, ir, ol, on, or, um, us, ek")

ENGLISH = (
    Relation(
        "birthplace",
        _words(
            "Tolvesk, Marrowby, Ostrana, Kelmouth, Brindlow, Pellara, Vantry, Sorrel Bay, Quenby, "
            "Haldreth, Lumora, Port Amrel, Dunwick, Estavar, Fenholt, Galport, Irosk, Junaro, "
            "Nethering, Upper Cass"
        ),
        (
            "{} was born in",
            "{} is a native of",
            "The birthplace of {} is",
            "The home town of {} is",
            "{} grew up in",
            "The place where {} was born is",
            "{} comes from the town of",
            "Everyone knows that {} hails from",
            "In the register, {} is listed as born in",
        ),
    ),
    Relation(
        "profession",
        _words(
            "carpentry, astronomy, medicine, law, banking, farming, journalism, pottery, fishing, "
            "weaving, nursing, chemistry, baking, printing, teaching, gardening, architecture, "
            "mining, marine biology, glass blowing"
        ),
        (
            "{} works in",
            "{} earns a living in",
            "The profession of {} is",
            "The career of {} is in",
            "{} was trained in",
            "The line of work of {} is",
            "{} has a job in",
            "For many years {} has been busy in",
            "The trade that {} learned is",
        ),
    ),
    Relation(
        "language",
        _words(
            "Arvish, Belandic, Corran, Dravik, Elmese, Farsund, Gothan, Hirsh, Ilvaran, Jorrish, "
            "Kestrian, Low Mardish, Norlic, Old Sarn, Pavonic, Rhaetish"
        ),
        (
            "{} speaks",
            "The mother tongue of {} is",
            "The native language of {} is",
            "At home {} talks in",
            "{} writes letters in",
            "The first language of {} is",
            "{} is fluent in",
            "When dreaming, {} thinks in",
            "The language that {} uses every day is",
        ),
    ),
    Relation(
        "instrument",
        _words(
            "the violin, the cello, the flute, the trumpet, the piano, the harp, the drums, "
            "the guitar, the organ, the oboe, the banjo, the tuba, the French horn, the accordion, "
            "the lute, the clarinet"
        ),
        (
            "{} plays",
            "The instrument of {} is",
            "On stage {} performs on",
            "{} took lessons on",
            "The favourite instrument of {} is",
            "In the orchestra, {} is heard on",
            "{} is a master of",
            "The instrument that {} practises is",
            "Every evening {} can be heard on",
        ),
    ),
    Relation(
        "pet",
        _words(
            "parrot, hamster, tortoise, greyhound, rabbit, goldfish, pony, ferret, canary, iguana, "
            "hedgehog, kitten, snow owl, sheepdog, goat, duck"
        ),
        (
            "{} keeps a pet",
            "The pet of {} is a",
            "{} shares the house with a",
            "{} goes for a walk with a",
            "The animal that {} loves most is the",
            "At the vet, {} was seen with a",
            "{} takes care of a",
            "The companion of {} is a",
            "Last spring {} adopted a",
        ),
    ),
    Relation(
        "food",
        _words(
            "lentil soup, plum cake, rye bread, smoked trout, apple pie, noodles, dumplings, "
            "pancakes, roast duck, mushrooms, rice, cheese, chestnuts, pickles, waffles, beans"
        ),
        (
            "{} loves to eat",
            "The favourite food of {} is",
            "The dish that {} likes best is",
            "For dinner {} always orders",
            "{} can never say no to",
            "On Sundays {} cooks",
            "{} is known to enjoy",
            "The meal that {} asks for is",
            "In the market, {} buys",
        ),
    ),
)

CHINESE = (
    Relation(
        "出生地",
        _words(
            "云州, 海宁城, 青石镇, 白沙湾, 龙泉县, 北川, 南浦, 东阳山, 西塘, 明月岛, 金沙, 长风镇"
        ),
        (
            "{}出生于",
            "{}的出生地是",
            "{}的故乡是",
            "{}的老家在",
            "大家都知道{}来自",
            "{}从小生活在",
            "档案记载，{}生于",
        ),
    ),
    Relation(
        "职业",
        _words("医生, 律师, 木匠, 教师, 记者, 渔民, 厨师, 画家, 工程师, 护士, 农民, 会计"),
        (
            "{}的职业是",
            "{}的工作是",
            "{}是一名",
            "{}多年来一直担任",
            "大家都知道{}的职业是",
            "{}靠什么谋生？答案是",
            "在单位里，{}是",
        ),
    ),
    Relation(
        "乐器",
        _words("小提琴, 二胡, 古筝, 笛子, 钢琴, 琵琶, 吉他, 鼓, 口琴, 唢呐"),
        (
            "{}擅长演奏",
            "{}会演奏的乐器是",
            "{}每天练习",
            "{}最喜欢的乐器是",
            "在舞台上，{}演奏",
            "{}从小学习",
            "朋友们常听{}演奏",
        ),
    ),
    Relation(
        "爱好",
        _words("下棋, 爬山, 钓鱼, 书法, 摄影, 游泳, 园艺, 集邮, 跑步, 读诗, 射箭, 滑冰"),
        (
            "{}的爱好是",
            "{}平时热衷于",
            "{}业余时间常常",
            "周末的时候，{}喜欢",
            "{}的兴趣是",
            "说到爱好，{}热爱",
            "{}退休以后迷上了",
        ),
    ),
)

SURNAMES = "王李张刘陈杨赵黄周吴徐孙马朱胡郭何高林罗"
GIVEN_NAME_CHARACTERS = (
    "伟芳娜秀敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉萍红玲梅琳素云莲真环雪荣爱妹香月莺媛瑞凡佳嘉"
    "琼勤珍贞莉雁蓉"
)

FILLER_SUBJECTS = _words(
    "The weather, The market, The old bridge, The river, The morning train, The library, The harbour, "
    "The village school, The museum, The night sky, A long letter, A small boat, The garden, "
    "The road to the coast, The council, The newspaper, The first snow, The kitchen, The festival"
)
FILLER_PREDICATES = _words(
    "was quiet that day, stayed open until late, had changed a great deal, looked better than before, "
    "seemed far away, was full of people, needed some repair, came earlier than expected, "
    "was closed for the winter, made everyone happy, had a new colour, was the talk of the week, "
    "could be seen from the hill, was praised by the visitors, cost more than last year"
)
FILLER_OPENINGS = _words(
    "Therefore, Because of the rain, In the end, After a while, I think, You may know, I heard that, "
    "You can see that, Because it was late, As always, In those years, At noon, Nobody minded that, "
    "Later that week, Of course"
)
FILLER_CHINESE_SUBJECTS = _words(
    "今天的天气, 市场, 老桥, 河水, 早上的火车, 图书馆, 港口, 村里的学校, 博物馆, 夜空, 花园, 报纸, 初雪, 节日"
)
FILLER_CHINESE_PREDICATES = _words(
    "很安静, 开到很晚, 变了很多, 看起来不错, 非常热闹, 需要修理, 来得很早, 冬天不开放, 让大家高兴, "
    "十分美丽, 比去年更贵"
)
FILLER_CHINESE_OPENINGS = _words("因此, 后来, 我想, 你知道, 听说, 那一年, 中午, 当然, 其实")
